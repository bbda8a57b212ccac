//! component tcpip
