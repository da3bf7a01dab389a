//! The source of a server's connectors.

use super::string_enum;

string_enum! {
    /// The source that decides which connectors a server has.
    pub enum PluginsSource {
        /// The files in the plugins folder of each server.
        Folder = "folder",
        /// The decisions in the store, for all servers that use it.
        Store = "store",
    }
}
