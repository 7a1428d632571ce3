//! What developers of Palisade run: `cargo xtask --help`.

#[cfg(target_os = "linux")]
mod answers;
#[cfg(target_os = "linux")]
mod emulate;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod kernels;
#[cfg(target_os = "linux")]
mod schema;
#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::ffi::OsString;
    use std::process::ExitCode;

    use clap::Parser;

    /// What developers of Palisade run.
    #[derive(Parser)]
    #[command(name = "cargo xtask", bin_name = "cargo xtask")]
    enum Task {
        /// Runs the enforcement tests on every kernel that can be had, and emulated, and prints one table.
        Kernels(kernels::Options),
        /// Runs a command as if this kernel's Landlock were another.
        Emulate {
            /// none, off (at boot), filtered (by seccomp), or the number of an ABI.
            kernel: emulate::As,
            /// The errata that are fixed, bit N-1 for erratum N, or none where the kernel does not know the question;
            /// as here, unless it is said.
            #[arg(long)]
            errata: Option<emulate::Errata>,
            /// The command.
            #[arg(required = true, trailing_var_arg = true)]
            command: Vec<OsString>,
        },
        /// Builds the library with one fault each, which the tests have to find.
        Faults,
        /// Whether crates/palisade-cli/policy.schema.json, the JSON Schema of policy files, is current.
        Schema {
            /// Write it.
            #[arg(long)]
            write: bool,
        },
        /// Prints what this kernel answers to a few hundred calls of Landlock's.
        Answers,
    }

    // Not in a container of a developer's.
    if std::process::id() == 1 && std::path::Path::new(guest::JOBS).exists() {
        guest::main();
    }
    let done = match Task::parse() {
        Task::Kernels(options) => kernels::run(&options),
        Task::Emulate { kernel, errata, command } => emulate::run(kernel, errata, &command),
        Task::Faults => faults::run(),
        Task::Schema { write } => schema::run(write),
        Task::Answers => answers::print().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::from(125)
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("xtask: all of its tasks need Linux");
    std::process::exit(1);
}
