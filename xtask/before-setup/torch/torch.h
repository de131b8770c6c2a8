// The compiler finds this file only if libtorch's own header is missing (see `CPATH` in
// .cargo/config.toml).
#error "libtorch is missing: run `cargo xtask setup` first"
// A missing header ends the compilation; after `#error` alone a flood of errors would follow.
#include "libtorch is missing: run `cargo xtask setup` first"
