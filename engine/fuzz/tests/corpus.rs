//! Every target over its corpus, and over a few random inputs, on any compiler.

use pelton_fuzz::{TARGETS, random, target};

/// The same in every run.
const RANDOM_INPUTS: usize = 500;

#[test]
fn every_target_passes_its_corpus() {
    for target in TARGETS {
        let corpus = random::corpus(target).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        assert!(!corpus.is_empty(), "{}: at least one file of corpus", target.name);
        for (path, input) in corpus {
            println!("{}", path.display());
            (target.check)(&input);
        }
    }
}

#[test]
fn every_target_passes_some_random_inputs() {
    for target in TARGETS {
        let corpus = random::corpus(target).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        for (count, input) in random::inputs(1, &corpus).take(RANDOM_INPUTS).enumerate() {
            println!("{}: random input {count}", target.name);
            (target.check)(&input);
        }
    }
}

#[test]
fn every_folder_of_corpus_belongs_to_a_target() {
    let corpus = random::corpus_folder(&TARGETS[0]);
    let folders = std::fs::read_dir(corpus.parent().expect("a folder of folders")).expect("readable");
    for folder in folders {
        let name = folder.expect("readable").file_name();
        assert!(target(&name.to_string_lossy()).is_ok(), "{}", name.display());
    }
}
