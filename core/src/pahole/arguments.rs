//! A command line, as every kbuild since Linux 5.11 writes it, into what is to be done.
//!
//! The rules are those of pahole 1.31: options and files in any order, `--opt X` and `--opt=X`,
//! abbreviations, a number of jobs only where it is attached. Features start as a plain `-J` has
//! them; the first list of features switches all off before it switches its own on; later lists
//! and the older flags add to it, in the order of the command line.

use super::options::{self, Meaning};
use crate::dwarf::language;
use crate::encode::Features;
use crate::features::{DEFAULT, NAMES};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The pahole whose flags are understood, and whose types are made.
const VERSION: (u32, u32) = (1, 31);

/// Those that are on without any flag.
const PLAIN: [&str; 4] = ["var", "decl_tag", "type_tag", "enum64"];

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A line for stdout, and success.
    Answer(String),
    /// Lines for stderr, and failure.
    Reject(String),
    /// An encode.
    Encode(Job),
    /// Something that only pahole itself does.
    HandOn,
}

/// One encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The ELF file.
    pub file: PathBuf,
    /// What split BTF stands on; `None` for BTF of its own.
    pub base: Option<PathBuf>,
    /// The raw file to write; `None` to put the BTF into the ELF file.
    pub detached: Option<PathBuf>,
    /// Names of the features that are on, in a fixed order.
    pub features: Vec<&'static str>,
    /// Names of the languages that contribute nothing.
    pub lang_exclude: Vec<String>,
    /// Threads asked for; 0 for one a CPU.
    pub jobs: usize,
    /// Say more.
    pub verbose: bool,
}

impl Job {
    /// The features as the encoder takes them.
    pub fn features(&self) -> Features {
        let mut features = Features::default();
        for name in &self.features {
            features.enable(name);
        }
        // Raw BTF has no place for the base that it would stand on.
        features.distilled_base &= self.detached.is_none() && self.base.is_some();
        features.lang_exclude =
            self.lang_exclude.iter().filter_map(|name| language(name)).collect();
        features
    }
}

/// Features that are on, one bit each.
#[derive(Clone, Copy)]
struct Switches {
    on: u32,
    listed: bool,
}

impl Switches {
    fn plain() -> Switches {
        let mut plain = Switches { on: 0, listed: true };
        for name in PLAIN {
            plain.set(name, true);
        }
        Switches { listed: false, ..plain }
    }

    fn set(&mut self, name: &str, on: bool) -> bool {
        let Some(bit) = NAMES.iter().position(|&known| known == name) else { return false };
        self.on = self.on & !(1 << bit) | u32::from(on) << bit;
        true
    }

    /// Takes a list; an unknown name is an error only where `strict`.
    fn list(&mut self, list: &str, strict: bool) -> Result<(), String> {
        if !std::mem::replace(&mut self.listed, true) {
            self.on = 0;
        }
        const ALL_DEFAULTS: u32 = (1 << DEFAULT) - 1;
        let names = list.strip_prefix('+').inspect(|_| self.on |= ALL_DEFAULTS).unwrap_or(list);
        for name in names.split(',').filter(|name| !name.is_empty()) {
            if name == "default" {
                self.on |= ALL_DEFAULTS;
            } else if !self.set(name, true) && strict {
                return Err(format!(
                    "Feature '{name}' in '{list}' is not supported.  Supported BTF features are:\n{}",
                    NAMES.join(",")
                ));
            }
        }
        Ok(())
    }

    fn names(self) -> Vec<&'static str> {
        let on = |bit: usize| self.on & 1 << bit != 0;
        NAMES.iter().enumerate().filter_map(|(bit, &name)| on(bit).then_some(name)).collect()
    }
}

/// Reads a command line without the name of the program. `lang_exclude` is what the environment
/// says where no option does.
pub fn parse(args: &[OsString], lang_exclude: Option<OsString>) -> Order {
    let mut reader = Reader {
        files: Vec::new(),
        encode: false,
        base: None,
        detached: None,
        switches: Switches::plain(),
        lang_exclude: None,
        jobs: 1,
        verbose: false,
    };
    match reader.read(args) {
        Err(order) => *order,
        Ok(()) => reader.order(lang_exclude),
    }
}

struct Reader {
    files: Vec<OsString>,
    encode: bool,
    base: Option<PathBuf>,
    detached: Option<PathBuf>,
    switches: Switches,
    lang_exclude: Option<OsString>,
    jobs: usize,
    verbose: bool,
}

impl Reader {
    fn read(&mut self, args: &[OsString]) -> Result<(), Box<Order>> {
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let bytes = arg.as_bytes();
            if bytes == b"--" {
                self.files.extend(rest.by_ref().cloned());
            } else if let Some(text) = bytes.strip_prefix(b"--") {
                let (name, value) = match memchr::memchr(b'=', text) {
                    Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]))),
                    None => (text, None),
                };
                let name = std::str::from_utf8(name).map_err(|_| hand_on())?;
                let meaning = options::long(name).ok_or_else(hand_on)?;
                let value = match value {
                    None if meaning.takes_word() => {
                        Some(rest.next().ok_or_else(hand_on)?.as_os_str())
                    }
                    Some(_) if !meaning.takes_word() && meaning != Meaning::Jobs => {
                        return Err(hand_on());
                    }
                    value => value,
                };
                self.take(meaning, value.unwrap_or_default())?;
            } else if bytes.len() > 1 && bytes[0] == b'-' {
                for (at, &letter) in bytes.iter().enumerate().skip(1) {
                    let meaning = options::short(letter);
                    if meaning == Meaning::Jobs {
                        self.take(meaning, OsStr::from_bytes(&bytes[at + 1..]))?;
                        break;
                    }
                    self.take(meaning, OsStr::new(""))?;
                }
            } else {
                self.files.push(arg.clone());
            }
        }
        Ok(())
    }

    fn take(&mut self, meaning: Meaning, value: &OsStr) -> Result<(), Box<Order>> {
        match meaning {
            Meaning::Encode => self.encode = true,
            Meaning::Detached => {
                self.encode = true;
                self.detached = Some(value.into());
            }
            Meaning::Base => self.base = Some(value.into()),
            Meaning::Jobs => self.jobs = jobs(value),
            Meaning::Verbose => self.verbose = true,
            Meaning::On(name) => _ = self.switches.set(name, true),
            Meaning::Off(name) => _ = self.switches.set(name, false),
            Meaning::All => drop(self.switches.list("all", false)),
            Meaning::Features => drop(self.switches.list(&value.to_string_lossy(), false)),
            Meaning::StrictFeatures => {
                let listed = self.switches.list(&value.to_string_lossy(), true);
                listed.map_err(|lines| Box::new(Order::Reject(lines)))?;
            }
            Meaning::LangExclude => self.lang_exclude = Some(value.into()),
            Meaning::Version => return answer(format!("v{}.{}", VERSION.0, VERSION.1)),
            Meaning::NumericVersion => return answer(format!("{}", VERSION.0 * 100 + VERSION.1)),
            Meaning::SupportedFeatures => return answer(NAMES.join(",")),
            Meaning::Foreign => return Err(hand_on()),
        }
        Ok(())
    }

    fn order(self, environment: Option<OsString>) -> Order {
        let [file] = &self.files[..] else { return Order::HandOn };
        if !self.encode {
            return Order::HandOn;
        }
        let languages = self.lang_exclude.or(environment).unwrap_or_default();
        let languages = String::from_utf8_lossy(&languages.into_vec()).into_owned();
        let languages: Vec<String> =
            languages.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if let Some(name) = languages.iter().find(|name| language(name).is_none()) {
            return Order::Reject(format!("pahole: unknown language \"{name}\""));
        }
        Order::Encode(Job {
            file: file.into(),
            base: self.base,
            detached: self.detached,
            features: self.switches.names(),
            lang_exclude: languages,
            jobs: self.jobs,
            verbose: self.verbose,
        })
    }
}

fn hand_on() -> Box<Order> {
    Box::new(Order::HandOn)
}

fn answer(line: String) -> Result<(), Box<Order>> {
    Err(Box::new(Order::Answer(line)))
}

/// The number in `-jN`; a plain `-j` means all CPUs.
fn jobs(value: &OsStr) -> usize {
    value.to_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Order {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&args, None)
    }

    fn job(line: &str) -> Job {
        match order(line) {
            Order::Encode(job) => job,
            other => panic!("{line}: {other:?}"),
        }
    }

    const NEWEST: &str =
        "encode_force,var,float,enum64,decl_tag,type_tag,optimized_func,consistent_func";

    #[test]
    fn every_era_is_understood() {
        let plain = ["var", "decl_tag", "type_tag", "enum64"];
        let j = job("-J --btf_base vmlinux net/a.ko");
        assert_eq!((j.features.as_slice(), j.jobs), (&plain[..], 1));
        assert_eq!((j.file, j.base), ("net/a.ko".into(), Some("vmlinux".into())));
        let j = job("-J --btf_gen_floats --skip_encoding_btf_enum64 --btf_base vmlinux a.ko");
        assert_eq!(j.features, ["var", "float", "decl_tag", "type_tag"]);
        let j = job(
            "-J --btf_gen_floats -j --lang_exclude=rust --skip_encoding_btf_inconsistent_proto \
             --btf_gen_optimized .tmp_vmlinux.btf",
        );
        let all = ["var", "float", "decl_tag", "type_tag", "enum64"];
        assert_eq!(j.features[..5], all);
        assert_eq!(j.features[5..], ["optimized_func", "consistent_func"]);
        assert_eq!((j.base, j.jobs, j.lang_exclude), (None, 0, vec!["rust".to_owned()]));
        let j = job(&format!(
            "-J -j --btf_features={NEWEST},decl_tag_kfuncs --btf_features=attributes \
             --lang_exclude=rust --btf_features=distilled_base --btf_base /o/vmlinux hello.ko"
        ));
        assert_eq!(j.features.len(), 11);
        assert!(j.features().distilled_base && j.features().attributes);
        let j = job(&format!(
            "-J -j8 --btf_features={NEWEST} --btf_features=layout -j --lang_exclude=rust \
             --btf_base ./vmlinux --btf_encode_detached=n/a.ko.BTF.1 n/a.ko"
        ));
        assert_eq!(j.detached, Some("n/a.ko.BTF.1".into()));
        assert_eq!(j.features.last(), Some(&"layout"));
        // Debian, with a time stamp of its own: defaults on top of a list, and no number of jobs.
        let j = job(&format!(
            "-J -j --btf_features={NEWEST} --btf_features=+reproducible_build --lang_exclude=rust \
             --btf_base ./vmlinux a.ko"
        ));
        assert_eq!(j.features, NAMES[..=DEFAULT]);
    }

    #[test]
    fn flags_count_in_their_order() {
        let all = job("--btf_features=default -J a.ko").features;
        assert_eq!(all, NAMES[..DEFAULT]);
        assert_eq!(job("-J --btf_gen_floats --btf_features=var a.ko").features, ["var"]);
        assert_eq!(job("-J --btf_features=var --btf_gen_floats a.ko").features, ["var", "float"]);
        let without = job("--btf_features=default --skip_encoding_btf_vars -J a.ko").features;
        assert_eq!(without.len(), DEFAULT - 1);
        assert_eq!(job("-J --btf_features=+layout,nobody_knows a.ko").features.len(), DEFAULT + 1);
        assert!(job("-J --btf_gen_all a.ko").features.is_empty());
        assert!(job("-J --btf_features=all a.ko").features.is_empty());
    }

    #[test]
    fn forms_of_an_option() {
        let long = job("a.ko --btf_encode_detached out --btf_base=v --jobs=3 --btf_encode");
        assert_eq!((long.detached, long.jobs), (Some("out".into()), 3));
        // A number on its own is a file to pahole, and two files are not ours.
        assert_eq!(order("-J -j 4 a.ko"), Order::HandOn);
        assert_eq!(job("-VJj4 a.ko").jobs, 4);
        assert!(job("-J --verb a.ko").verbose);
        assert_eq!(job("-J --btf_b v a.ko").base, Some("v".into()));
        assert_eq!(order("-J --btf_enc a.ko"), Order::HandOn, "two options begin like this");
        assert_eq!(job("-J -- -a.ko").file, PathBuf::from("-a.ko"));
    }

    #[test]
    fn what_is_not_ours_goes_on() {
        for line in ["", "vmlinux", "-J", "-J a b", "-C list_head vmlinux", "--help", "--nothing"] {
            assert_eq!(order(line), Order::HandOn, "{line}");
        }
        assert_eq!(order("-J --lang=c a.ko"), Order::HandOn);
        assert_eq!(order("-J --btf_encode=x a.ko"), Order::HandOn);
    }

    #[test]
    fn answers() {
        assert_eq!(order("--version"), Order::Answer("v1.31".into()));
        assert_eq!(order("--numeric_version"), Order::Answer("131".into()));
        assert_eq!(order("--supported_btf_features"), Order::Answer(NAMES.join(",")));
        assert!(matches!(order("-J --btf_features_strict=var,x a"), Order::Reject(_)));
        assert!(matches!(order("-J --lang_exclude=x a"), Order::Reject(_)));
    }

    #[test]
    fn the_environment_counts_where_no_option_does() {
        let parsed = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            match parse(&args, Some("rust,c99".into())) {
                Order::Encode(job) => job.lang_exclude,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(parsed("-J a.ko"), ["rust", "c99"]);
        assert_eq!(parsed("-J --lang_exclude=asm a.ko"), ["asm"]);
    }

    #[test]
    fn the_features_of_options_are_the_encoders() {
        for (option, meaning) in options::LONG {
            if let Meaning::On(name) | Meaning::Off(name) = meaning {
                assert!(NAMES.contains(name), "{option}");
            }
        }
        assert!(PLAIN.iter().all(|name| NAMES.contains(name)));
    }
}
