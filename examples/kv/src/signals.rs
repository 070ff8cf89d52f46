//! Signals, which are events of the loop.

use kpt_std::Signal;

use crate::outside::Outside;
use crate::server::{Server, ServerThread};

/// What the server listens to.
pub const SIGNALS: &[Signal] = &[Signal::HUP, Signal::INT, Signal::TERM];

impl Server {
    pub fn on_signal(&mut self, mut thread: ServerThread) {
        while let Some(signal) = self.signals.take() {
            if signal == Signal::HUP {
                match Outside::Log.attempt(|| self.log_file.reopen().map(|()| 0)) {
                    Ok(_) => log::info!("the log goes on, after {signal}"),
                    Err(error) => log::error!("the log can't be opened anew: {error}"),
                }
                continue;
            }
            log::info!("{signal}: saves and ends");
            match self.save_last(thread.threads()) {
                Ok(()) => return thread.threads().stop(),
                Err(_) => log::error!("the server goes on, as its keys would be lost"),
            }
        }
        thread.again();
    }
}
