//! Microkit system description files (.system): model, parser, writer, checks
