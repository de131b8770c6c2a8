// Found only where libtorch's own header is not (see `CPATH` in .cargo/config.toml).
#error "libtorch is missing: run `cargo xtask setup` first"
// A header that is missing ends the compilation, where `#error` alone lets a flood follow.
#include "libtorch is missing: run `cargo xtask setup` first"
