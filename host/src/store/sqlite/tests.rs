//! The rules of the SQLite store, tested on files of their own.
