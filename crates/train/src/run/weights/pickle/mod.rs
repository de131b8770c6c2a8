//! The pickles that `torch.save` makes of a state dict, read without running anything.
//!
//! A pickle is a program for a stack machine, and Python's own reader calls whatever function it
//! names. This one knows the instructions and the few names that a dict of tensors and plain values
//! needs; anything else is refused with its name. All objects live in one list and refer to each other
//! by index, so that neither depth nor a cycle does harm; every object is paid for by bytes of the file.

mod machine;

use safetensors::tensor::Dtype;

pub(super) use machine::read;

/// A value: small, or the index of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool,
    Float,
    Int(i64),
    Object(usize),
}

/// An object that a [`Value`] can refer to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Global(Global),
    Storage(Storage),
    Tensor(PickledTensor),
}

/// The known names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Dtype),
}

/// The numbers of tensors, in a file of their own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    /// Name of the file.
    pub(super) key: String,
    pub(super) num_elements: usize,
}

/// A view of a storage; offset and strides in elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PickledTensor {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The result of reading a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) objects: Vec<Object>,
    pub(super) top: Value,
}

impl Pickle {
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, value: Value) -> Option<&PickledTensor> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

/// The known name, if this is one.
fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "Size") => Global::Size,
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
        ("torch", "CharStorage") => Global::Storage(Dtype::I8),
        ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
        ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err()
    }

    #[test]
    fn plain_values_are_read_and_shared_ones_are_one() {
        // {'a': [1, -2, 2**40, None, True, 1.5], 'b': the same list}
        let mut bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00a]q\x01(K\x01J\xfe\xff\xff\xff".to_vec();
        bytes.extend(b"\x8a\x06\x00\x00\x00\x00\x00\x01N\x88G\x3f\xf8\x00\x00\x00\x00\x00\x00e");
        bytes.extend(b"X\x01\x00\x00\x00bh\x01u.");
        let pickle = read(&bytes).unwrap();
        let items = pickle.dict(pickle.top).unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].1, items[1].1);
        let Some(Object::List(list)) = pickle.object(items[0].1) else {
            unreachable!("a list");
        };
        let ints = [Value::Int(1), Value::Int(-2), Value::Int(1 << 40)];
        assert_eq!(list[..3], ints);
        assert_eq!(list[3..], [Value::None, Value::Bool, Value::Float]);
    }

    #[test]
    fn what_would_run_something_is_refused_by_name() {
        let system = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        assert!(
            refused(system).contains("`os.system`"),
            "{}",
            refused(system)
        );
        let eval = b"\x80\x02cbuiltins\neval\n.";
        assert!(refused(eval).contains("`builtins.eval`"));
        // A known name is called with too few arguments, and something is called that is not a function.
        assert!(refused(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.").contains("arguments"));
        assert!(refused(b"\x80\x02K\x01)R.").contains("called"));
        // INST, OBJ, NEWOBJ, STACK_GLOBAL and all other instructions.
        for code in *b"io\x81\x92\x93\x82PST\x96" {
            let found = refused(&[0x80, 2, code]);
            assert!(found.contains("instruction"), "{code}: {found}");
        }
    }

    #[test]
    fn what_is_named_again_is_not_made_again() {
        // A tuple of many values is used as a size and as arguments, again and again.
        let many = [&b"\x80\x02("[..], &b"N".repeat(10_000), b"tq\x00"].concat();
        let size = b"ctorch\nSize\nq\x01".to_vec();
        let again = b"h\x01h\x00\x85R".repeat(10_000);
        let bytes = [&many[..], &size, &again, b"."].concat();
        let pickle = read(&bytes).unwrap();
        let items = pickle.objects.iter().map(|it| match it {
            Object::Tuple(items) | Object::List(items) => items.len(),
            _ => 0,
        });
        assert!(items.sum::<usize>() <= bytes.len());
        let parameter = b"ctorch._utils\n_rebuild_parameter\nq\x01";
        let again = b"h\x01h\x00R".repeat(10_000);
        read(&[&many[..], parameter, &again, b"."].concat()).unwrap();
        // The name of a storage and the dimensions of a tensor are copied, so they must be short.
        let key = [&b"X\x41\x00\x00\x00"[..], &[b'0'; 65]].concat();
        let storage = |key: &[u8]| {
            let kind = b"\x80\x02(Nctorch\nFloatStorage\n";
            [&kind[..], key, b"NK\x01tQ"].concat()
        };
        assert!(refused(&[&storage(&key)[..], b"."].concat()).contains("form"));
        let tensor = |dims: usize| {
            let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
            let sizes = [&b"("[..], &b"K\x01".repeat(dims), b"t"].concat();
            let storage = storage(b"X\x01\x00\x00\x000");
            [
                &storage[..2],
                call,
                &storage[2..],
                b"K\x00",
                &sizes,
                &sizes,
                b"tR.",
            ]
            .concat()
        };
        read(&tensor(64)).unwrap();
        assert!(refused(&tensor(65)).contains("do not fit"));
    }

    #[test]
    fn no_bytes_can_hurt() {
        assert!(refused(b"").contains("ends"));
        assert!(refused(b"\x80\x04.").contains("protocol"));
        assert!(refused(b"\x80\x02.").contains("stack"));
        assert!(refused(b"\x80\x02h\x05.").contains("memo"));
        assert!(refused(b"\x80\x02X\xff\xff\xff\x7fabc").contains("ends"));
        assert!(refused(b"\x80\x02u.").contains("mark"));
        // Extreme nesting, and a cycle.
        let deep: Vec<u8> = [&b"\x80\x02N"[..], &vec![0x85; 1_000_000], b"."].concat();
        read(&deep).unwrap();
        read(b"\x80\x02]q\x00h\x00a.").unwrap();
        // Many programs of three instructions, and every truncation of a valid one.
        for (a, b, c) in (0..=255_u8).flat_map(|a| (0..64).map(move |b| (a, b * 4 + 1, a ^ b))) {
            drop(read(&[0x80, 2, b'}', a, b, c, b'.']));
            drop(read(&[0x80, 2, b'(', b')', b'K', 1, a, b, c, b'.']));
        }
        let right = b"\x80\x02}q\x00(X\x01\x00\x00\x00a]q\x01(K\x01K\x02eu.";
        for end in 0..right.len() {
            refused(&right[..end]);
        }
    }
}
