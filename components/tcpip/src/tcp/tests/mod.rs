//! Connections against segments made by hand, and two of them against each other over a network with faults.

mod closing;
mod hostile;
mod loss;
mod network;
mod opening;
mod script;
mod transfer;
mod window;
