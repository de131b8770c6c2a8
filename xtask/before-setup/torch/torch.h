#error "libtorch is missing: run `cargo xtask setup` first"
