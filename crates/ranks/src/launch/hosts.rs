//! Slurm's lists of hosts: `n[01-03,7],m3` is n01, n02, n03, n7 and m3. A name may have several brackets.

/// The first host of `list`, or `None` if it is no such list.
pub(super) fn first(list: &str) -> Option<String> {
    let mut host = String::new();
    let mut rest = list;
    loop {
        let end = rest.find(['[', ',']).unwrap_or(rest.len());
        host.push_str(&rest[..end]);
        let Some(bracket) = rest[end..].strip_prefix('[') else {
            break;
        };
        let (numbers, after) = bracket.split_once(']')?;
        let number = numbers.split([',', '-']).next()?;
        if number.is_empty() || !number.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        host.push_str(number);
        rest = after;
    }
    let is_name = |it: char| it.is_ascii_alphanumeric() || "-_.:".contains(it);
    (!host.is_empty() && host.chars().all(is_name)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host() {
        for (list, expected) in [
            ("n1", "n1"),
            ("n[1-2,7],m3", "n1"),
            ("m3,n[1-2]", "m3"),
            ("node-[08-11].site", "node-08.site"),
            ("r[2-3]n[5,3]", "r2n5"),
        ] {
            assert_eq!(first(list).as_deref(), Some(expected), "{list}");
        }
        for list in ["", ",n1", "n[1", "n1]", "n[]", "n[x-1]", "a b", "n[[1]]"] {
            assert_eq!(first(list), None, "{list}");
        }
    }
}
