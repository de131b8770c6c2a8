//! The stack machine that reads pickles.

use std::collections::HashMap;

use super::{Global, Object, Pickle, PickledTensor, Storage, Value, global};

/// Far more than a state dict needs; the tensors' numbers are not in the pickle.
const MAX_BYTES: usize = 64 << 20;
/// An instruction of a few bytes can refer to the same operands again and again, so whatever it copies
/// must be small: the bytes of a storage's name and the dimensions of a tensor.
const MAX_KEY: usize = 64;
const MAX_DIMS: usize = 64;

/// A result, or why a pickle is refused, in words that continue "its pickle".
type Refused<T> = Result<T, String>;

/// Reads a pickle of protocol 2, the protocol of `torch.save`.
///
/// # Errors
/// The unknown name or instruction in it, or where it is broken.
pub(in crate::run::weights) fn read(bytes: &[u8]) -> Refused<Pickle> {
    if bytes.len() > MAX_BYTES {
        return Err(format!(
            "has {} bytes, more than any state dict",
            bytes.len()
        ));
    }
    let mut machine = StackMachine {
        bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let code = machine.byte()?;
        if code == b'.' {
            let top = machine.pop()?;
            return Ok(Pickle {
                objects: machine.objects,
                top,
            });
        }
        let value = machine.step(code)?;
        machine.stack.extend(value);
    }
}

struct StackMachine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<i64, Value>,
}

impl StackMachine<'_> {
    /// Executes an instruction; returns the value that it pushes on the stack.
    fn step(&mut self, code: u8) -> Refused<Option<Value>> {
        Ok(Some(match code {
            // PROTO
            0x80 => match self.byte()? {
                2 => return Ok(None),
                other => {
                    return Err(format!(
                        "is of protocol {other}, `torch.save` writes protocol 2"
                    ));
                }
            },
            // Plain values.
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'G' => {
                self.take(8)?;
                Value::Float
            }
            b'K' => Value::Int(self.int::<1>()?),
            b'M' => Value::Int(self.int::<2>()?),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => Value::Int(self.long()?),
            b'X' => self.text()?,
            // Containers.
            b'}' => self.make(Object::Dict(Vec::new())),
            b']' => self.make(Object::List(Vec::new())),
            b')' => self.make(Object::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84))?;
                self.make(Object::Tuple(items))
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.make(Object::Tuple(items))
            }
            // Memo.
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            // Names, and the few calls made with them.
            b'c' => self.name()?,
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            _ => return self.step_without_value(code).map(|()| None),
        }))
    }

    fn step_without_value(&mut self, code: u8) -> Refused<()> {
        match code {
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'a' => self.pop_many(1).and_then(|items| self.extend_list(&items)),
            b'e' => self
                .pop_to_mark()
                .and_then(|items| self.extend_list(&items)),
            b's' => self.pop_many(2).and_then(|items| self.extend_dict(&items)),
            b'u' => self
                .pop_to_mark()
                .and_then(|items| self.extend_dict(&items)),
            b'q' => self.memorise::<1>(),
            b'r' => self.memorise::<4>(),
            // BUILD: attributes of a module's state dict besides its items; they are not needed here.
            b'b' => self.pop().map(drop),
            other => Err(format!(
                "has the instruction 0x{other:02x}, which no state dict needs"
            )),
        }
    }

    fn byte(&mut self) -> Refused<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn take(&mut self, num: usize) -> Refused<&[u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..num).ok_or("ends in the middle")?;
        self.at += num;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Refused<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Unsigned, little-endian.
    fn int<const N: usize>(&mut self) -> Refused<i64> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | i64::from(b)))
    }

    /// A signed integer of several bytes; with more than eight bytes, its value does not matter here.
    fn long(&mut self) -> Refused<i64> {
        let num = usize::from(self.byte()?);
        let bytes = self.take(num)?;
        let sign = bytes
            .last()
            .map_or(0, |&b| if b >= 0x80 { 0xff } else { 0 });
        let mut wide = [sign; 8];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(i64::from_le_bytes(wide))
    }

    fn text(&mut self) -> Refused<Value> {
        let num = u32::from_le_bytes(self.array()?);
        let bytes = self.take(usize::try_from(num).unwrap_or(usize::MAX))?;
        let text = String::from_utf8_lossy(bytes).into_owned();
        Ok(self.make(Object::Text(text)))
    }

    fn make(&mut self, object: Object) -> Value {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }

    /// Pops `num` values, which must be above the last mark.
    fn pop_many(&mut self, num: usize) -> Refused<Vec<Value>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let at = self.stack.len().checked_sub(num).filter(|&at| at >= floor);
        let at = at.ok_or("takes more off its stack than there is")?;
        Ok(self.stack.split_off(at))
    }

    fn pop(&mut self) -> Refused<Value> {
        let last = self.pop_many(1)?;
        Ok(last[0])
    }

    fn pop_to_mark(&mut self) -> Refused<Vec<Value>> {
        let mark = self.marks.pop().ok_or("has no mark where it needs one")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Refused<&mut Object> {
        match self.stack.last() {
            Some(&Value::Object(index)) => Ok(&mut self.objects[index]),
            _ => Err("fills something that is no container".to_owned()),
        }
    }

    fn extend_list(&mut self, items: &[Value]) -> Refused<()> {
        match self.top()? {
            Object::List(list) => list.extend(items),
            _ => return Err("appends to what is no list".to_owned()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Value]) -> Refused<()> {
        match (self.top()?, items.as_chunks()) {
            (Object::Dict(dict), (pairs, [])) => dict.extend(pairs.iter().map(|[k, v]| (*k, *v))),
            _ => return Err("puts items where they do not fit".to_owned()),
        }
        Ok(())
    }

    fn memorise<const N: usize>(&mut self) -> Refused<()> {
        let key = self.int::<N>()?;
        let value = *self
            .stack
            .last()
            .ok_or("takes more off its stack than there is")?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Refused<Value> {
        let key = self.int::<N>()?;
        let value = self.memo.get(&key).copied();
        Ok(value.ok_or("asks its memo for what is not there")?)
    }

    fn name(&mut self) -> Refused<Value> {
        let mut line = || {
            let rest = &self.bytes[self.at..];
            let end = rest
                .iter()
                .position(|&b| b == b'\n')
                .ok_or("ends in the middle")?;
            self.at += end + 1;
            Ok::<_, String>(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        let (module, name) = (line()?, line()?);
        let known = global(&module, &name).ok_or_else(|| {
            // Untrusted text: escape it before printing.
            let shown: String = format!("{module}.{name}")
                .escape_default()
                .take(100)
                .collect();
            format!("asks for `{shown}`, which is no part of a state dict")
        })?;
        Ok(self.make(Object::Global(known)))
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    fn tuple(&self, value: Value) -> Refused<&[Value]> {
        match self.object(value) {
            Some(Object::Tuple(items)) => Ok(items),
            _ => Err("calls something with arguments that are no tuple".to_owned()),
        }
    }

    /// `('storage', torch.FloatStorage, '0', 'cpu', 64)`: the place of a tensor's numbers.
    fn storage(&mut self) -> Refused<Value> {
        let id = self.pop()?;
        let storage = match *self.tuple(id)? {
            [_, kind, key, _, Value::Int(num)] => match (self.object(kind), self.object(key)) {
                (Some(Object::Global(Global::Storage(dtype))), Some(Object::Text(key)))
                    if key.len() <= MAX_KEY =>
                {
                    usize::try_from(num).ok().map(|num_elements| Storage {
                        dtype: *dtype,
                        key: key.clone(),
                        num_elements,
                    })
                }
                _ => None,
            },
            _ => None,
        };
        let storage = storage.ok_or("names a storage in a form that is not known")?;
        Ok(self.make(Object::Storage(storage)))
    }

    fn call(&mut self) -> Refused<Value> {
        let called = self.pop_many(2)?;
        let arguments = self.tuple(called[1])?;
        let made = match (self.object(called[0]), arguments) {
            (Some(Object::Global(Global::OrderedDict)), []) => Object::Dict(Vec::new()),
            // A size is represented by its tuple.
            (Some(Object::Global(Global::Size)), [sizes]) => {
                return self.tuple(*sizes).map(|_is_one| *sizes);
            }
            (
                Some(Object::Global(Global::RebuildTensor)),
                [storage, offset, shape, strides, ..],
            ) => Object::Tensor(self.tensor([*storage, *offset, *shape, *strides])?),
            // A parameter is represented by its data.
            (Some(Object::Global(Global::RebuildParameter)), [data, ..]) => {
                return Ok(*data);
            }
            (Some(Object::Global(known)), _) => {
                return Err(format!(
                    "calls {known:?} with arguments that it does not take"
                ));
            }
            _ => return Err("has something called that is no function".to_owned()),
        };
        Ok(self.make(made))
    }

    fn tensor(&self, [storage, offset, shape, strides]: [Value; 4]) -> Refused<PickledTensor> {
        let wrong = || "makes a tensor of arguments that do not fit".to_owned();
        let size = |value: &Value| match value {
            Value::Int(n) => usize::try_from(*n).map_err(|_negative| wrong()),
            _ => Err(wrong()),
        };
        let sizes = |value: Value| {
            let values = self.tuple(value)?;
            if values.len() > MAX_DIMS {
                return Err(wrong());
            }
            values.iter().map(size).collect::<Refused<Vec<_>>>()
        };
        let Some(Object::Storage(storage)) = self.object(storage) else {
            return Err(wrong());
        };
        let (shape, strides) = (sizes(shape)?, sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(wrong());
        }
        Ok(PickledTensor {
            storage: storage.clone(),
            offset: size(&offset)?,
            shape,
            strides,
        })
    }
}
