//! Trains a U-Net.
