//! The `selkie` command; everything lies in [`selkie::cli`].

fn main() -> std::process::ExitCode {
    selkie::cli::main()
}
