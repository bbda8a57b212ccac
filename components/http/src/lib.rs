//! component http
