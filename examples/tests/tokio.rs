//! A child that tokio starts is confined as one that the standard library does.

use std::fs;

use palisade::{Abi, CommandExt, Kernel, Policy};
use tokio::process::Command;
use tokio::runtime::Builder;

#[test]
fn a_command_of_tokio_is_confined() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["granted", "other"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let policy = Policy::new().program("cat").unwrap().ro(folder.path().join("granted"));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cat = Command::new("cat");
        cat.args(["granted", "other"]).current_dir(&folder).env("LC_ALL", "C");
        let confined = cat.as_std_mut().confine(&policy).map(drop);
        if Kernel::probe().abi().is_ok_and(|abi| abi >= Abi::V4) {
            confined.unwrap();
            // Twice, for a command may be.
            for _ in 0..2 {
                let output = cat.output().await.unwrap();
                assert_eq!(output.stdout, b"granted");
                assert_eq!(String::from_utf8(output.stderr).unwrap(), "cat: other: Permission denied\n");
            }
        } else {
            assert!(confined.unwrap_err().is_unsupported());
        }
        assert_eq!(tokio::fs::read(folder.path().join("other")).await.unwrap(), b"other");
    });
}
