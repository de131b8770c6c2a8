//! The Python module `snug._snug`. Other threads of Python run while an answer is found.

/// The advisor's answers as JSON; `snug` gives them types.
#[pyo3::pymodule]
mod _snug {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    #[pyfunction]
    fn suggest(py: Python<'_>, request: &str) -> String {
        py.detach(|| crate::suggest(request))
    }

    #[pyfunction]
    fn predict_memory(py: Python<'_>, request: &str) -> String {
        py.detach(|| crate::predict_memory(request))
    }

    #[pyfunction]
    fn plan(py: Python<'_>, request: &str) -> String {
        py.detach(|| crate::plan(request))
    }
}
