//! The languages in which connectors can be written, and the examples that exist in each language.

/// A language in which a connector can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, compiled to WebAssembly.
    Rust,
    /// TypeScript. The build checks its types and bundles it; in a new project, QuickJS runs it.
    Typescript,
    /// JavaScript. The build bundles it, and QuickJS or StarlingMonkey runs it.
    Javascript,
    /// Python, run by CPython.
    Python,
    /// C, compiled to WebAssembly.
    C,
    /// C++, compiled to WebAssembly.
    Cpp,
    /// Go, compiled to WebAssembly.
    Go,
    /// One JavaScript file that the server runs without a build.
    Script,
}

/// The JavaScript engine that a component contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A small engine without `fetch` and other web APIs.
    Quickjs,
    /// A large engine with `fetch` and other web APIs.
    Starlingmonkey,
}

/// A connector for a real tracker. A new project can start as a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Redmine.
    Redmine,
    /// Any tracker with a REST API. The connection's settings describe the requests.
    Rest,
    /// GitHub Issues.
    Github,
    /// Jira Cloud and Data Center.
    Jira,
    /// Azure DevOps.
    AzureDevops,
    /// Request Tracker.
    RequestTracker,
    /// ServiceNow.
    ServiceNow,
    /// GitLab Issues.
    Gitlab,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 8] = [
        Self::Rust,
        Self::Typescript,
        Self::Javascript,
        Self::Python,
        Self::C,
        Self::Cpp,
        Self::Go,
        Self::Script,
    ];

    /// The language's name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Typescript => "typescript",
            Self::Javascript => "javascript",
            Self::Python => "python",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::Script => "script",
        }
    }

    /// Returns the language with this name on the command line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Quickjs, Self::Starlingmonkey];

    /// The engine's name on the command line and in `package.json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quickjs => "quickjs",
            Self::Starlingmonkey => "starlingmonkey",
        }
    }

    /// Returns the engine with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

impl Example {
    /// Every example.
    pub const ALL: [Self; 8] = [
        Self::Redmine,
        Self::Rest,
        Self::Github,
        Self::Jira,
        Self::AzureDevops,
        Self::RequestTracker,
        Self::ServiceNow,
        Self::Gitlab,
    ];

    /// The example's name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redmine => "redmine",
            Self::Rest => "rest",
            Self::Github => "github",
            Self::Jira => "jira",
            Self::AzureDevops => "azure-devops",
            Self::RequestTracker => "request-tracker",
            Self::ServiceNow => "servicenow",
            Self::Gitlab => "gitlab",
        }
    }

    /// Returns the example with this name on the command line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|example| example.name() == name)
    }

    /// Returns the first language of [`Language::ALL`] in which the example exists.
    #[must_use]
    pub fn language(self) -> Option<Language> {
        Language::ALL.into_iter().find(|language| self.repository_folder(*language).is_some())
    }

    pub(crate) const fn tracker_name(self) -> &'static str {
        match self {
            Self::Redmine => "Redmine",
            Self::Rest => "any tracker with a REST API",
            Self::Github => "GitHub Issues",
            Self::Jira => "Jira",
            Self::AzureDevops => "Azure DevOps",
            Self::RequestTracker => "Request Tracker",
            Self::ServiceNow => "ServiceNow",
            Self::Gitlab => "GitLab Issues",
        }
    }

    /// The name of the secret setting in the commands of the project's README.
    pub(crate) const fn secret_name(self) -> &'static str {
        match self {
            Self::Redmine => "api-key",
            Self::Rest => "bearer-token",
            Self::Jira => "api-token",
            Self::ServiceNow => "password",
            Self::Github | Self::AzureDevops | Self::RequestTracker | Self::Gitlab => "token",
        }
    }

    /// Whether the example uses the files of its language's template that contain helper functions,
    /// such as `jackfield.js`.
    pub(crate) const fn uses_library(self) -> bool {
        !matches!(self, Self::Redmine)
    }

    /// Returns `None` if the example does not exist in this language.
    pub(crate) const fn repository_folder(self, language: Language) -> Option<&'static str> {
        match (self, language) {
            (Self::Redmine, Language::Rust) => Some("guest-examples/redmine"),
            // The source imports only the contract, so it also works as a script.
            (Self::Redmine, Language::Javascript | Language::Script) => {
                Some("guest-examples/javascript")
            }
            (Self::Redmine, Language::Python) => Some("guest-examples/python"),
            (Self::Rest, Language::Rust) => Some("guest-examples/rest"),
            (Self::Github, Language::Typescript) => Some("guest-examples/github"),
            (Self::Jira, Language::Python) => Some("guest-examples/jira"),
            (Self::AzureDevops, Language::Javascript) => Some("guest-examples/azure-devops"),
            (Self::RequestTracker, Language::Cpp) => Some("guest-examples/request-tracker"),
            (Self::ServiceNow, Language::C) => Some("guest-examples/servicenow"),
            (Self::Gitlab, Language::Go) => Some("guest-examples/gitlab"),
            _ => None,
        }
    }

    /// The names of the languages that have the example, separated by commas.
    pub(crate) fn language_names(self) -> String {
        let languages = Language::ALL
            .into_iter()
            .filter(|language| self.repository_folder(*language).is_some());
        languages.map(Language::name).collect::<Vec<_>>().join(", ")
    }
}
