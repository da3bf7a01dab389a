//! The places from which a server may get its connectors.

use super::string_enum;

string_enum! {
    /// The place that decides which connectors a server has.
    pub enum PluginsSource {
        /// The files in the plugins folder of each server.
        Folder = "folder",
        /// The store that all servers share.
        Store = "store",
    }
}
