//! The board and the configuration that the tests run on, from the environment.

use std::sync::OnceLock;

use clap::ValueEnum;
use selkie::board::{Board, KernelKind};
use selkie::cli::root;
use selkie::settings::Configuration;

/// What the tests run on.
#[derive(Debug)]
pub struct Ground {
    /// The board.
    pub board: Board,
    /// How kernel and protection domains are configured.
    pub configuration: Configuration,
}

impl Ground {
    /// Whether it is a board of the Microkit SDK.
    pub fn is_microkit(&self) -> bool {
        self.board.kernel == KernelKind::Microkit
    }
}

/// The board that `SELKIE_TEST_BOARD` names and the configuration that `SELKIE_TEST_CONFIG` names; without them, the
/// pc99 board in release configuration.
///
/// # Panics
/// When there is no such board or configuration: nothing could be tested then.
pub fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let named = |name: &str, otherwise: &str| {
            std::env::var(name).unwrap_or_else(|_| otherwise.to_string())
        };
        let board = named("SELKIE_TEST_BOARD", "pc99");
        let board = Board::load(&root(), &board)
            .unwrap_or_else(|problems| panic!("the board {board}: {problems:?}"));
        let configuration = named("SELKIE_TEST_CONFIG", "release");
        let configuration = Configuration::from_str(&configuration, false)
            .unwrap_or_else(|error| panic!("the configuration {configuration}: {error}"));
        Ground {
            board,
            configuration,
        }
    })
}
