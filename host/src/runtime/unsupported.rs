//! Explains the features and imports that this host does not support: where they usually come from,
//! and how the component's author can avoid them. Never decides whether a component is refused: the
//! engine has already refused it.

use wasmparser::{Parser, Payload};

/// If the engine's message contains this word, the component uses an asynchronous type or function.
const ASYNC_TEXT: &str = "async";
/// Maximum number of imports that the host reads from a refused component.
const IMPORTS_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Unsupported {
    /// Texts that show that a component uses the feature. For a feature of code, they are parts of
    /// the engine's message. For an import, they are beginnings of its name.
    matching_texts: &'static [&'static str],
    /// The feature, as the words that follow `It uses` in the advice.
    feature: &'static str,
    usual_source: &'static str,
    fix: &'static str,
}

/// The unsupported features of code.
const UNSUPPORTED_CODE_FEATURES: [Unsupported; 10] = [
    Unsupported {
        matching_texts: &[
            "exceptions proposal",
            "exceptions support is not enabled",
            "exception handling",
        ],
        feature: "WebAssembly exceptions",
        usual_source: "C++ or Swift with exceptions, Kotlin, Dart and OCaml",
        fix: "compile C++ with `-fno-exceptions` and Rust with `panic = \"abort\"`",
    },
    Unsupported {
        matching_texts: &[
            "gc types are disabled",
            "without the gc feature",
            "gc support is not enabled",
            "function references support is not enabled",
            "custom descriptors",
        ],
        feature: "objects of a garbage collector (GC types)",
        usual_source: "Kotlin, Dart, Java, OCaml and Scheme",
        fix: "use a language that manages its own memory, such as Rust, JavaScript, Python, C or Go",
    },
    Unsupported {
        matching_texts: &[
            "threads must be enabled",
            "threads support is not enabled",
            "shared-everything",
        ],
        feature: "threads and shared memories",
        usual_source: "`-pthread`, the target wasm32-wasip1-threads, and `+atomics`",
        fix: "compile for one thread: wasm32-wasip2, without `-pthread` and `+atomics`",
    },
    Unsupported {
        matching_texts: &["memory64 must be enabled", "memory64"],
        feature: "memories with 64-bit addresses (memory64)",
        usual_source: "the target wasm64, `-m64` and `-sMEMORY64`",
        fix: "compile for wasm32",
    },
    Unsupported {
        matching_texts: &["relaxed SIMD"],
        feature: "relaxed SIMD",
        usual_source: "`-mrelaxed-simd` and `target-feature=+relaxed-simd`",
        fix: "leave that option out; SIMD itself is supported",
    },
    Unsupported {
        matching_texts: &["stack switching"],
        feature: "stack switching",
        usual_source: "compilers that try out coroutines or effect handlers (`cont` types)",
        fix: "switch that option of the compiler off",
    },
    Unsupported {
        matching_texts: &[ASYNC_TEXT],
        feature: "asynchronous functions, streams and futures of the component model",
        usual_source: "`componentize-qjs` without `--sync`, `async` functions in the WIT, and WASI 0.3",
        fix: "add `--sync`, use wit/connector.wit unchanged, and build for WASI 0.2",
    },
    Unsupported {
        matching_texts: &["wide arithmetic"],
        feature: "128-bit arithmetic (wide arithmetic)",
        usual_source: "`-mwide-arithmetic` and `target-feature=+wide-arithmetic`",
        fix: "leave that option out",
    },
    Unsupported {
        matching_texts: &["custom page sizes", "memory control"],
        feature: "memories with pages of another size",
        usual_source: "linkers with `--page-size`, for small devices",
        fix: "leave that option out",
    },
    Unsupported {
        matching_texts: &["component model 64-bit", "`cm64`"],
        feature: "64-bit components",
        usual_source: "the target wasm64",
        fix: "compile for wasm32",
    },
];

/// If several `matching_texts` are beginnings of a name, the longest one selects the advice, unless
/// the version of WASI in the name selects it first.
const UNSUPPORTED_IMPORTS: [Unsupported; 11] = [
    Unsupported {
        matching_texts: &["wasi:"],
        feature: "an interface of WASI that connectors cannot use",
        usual_source: "a library, or a world that includes it",
        fix: "leave it out: of WASI 0.2, the host provides cli, clocks, io, random, outgoing http, \
              a file system without files, and sockets that refuse to connect",
    },
    Unsupported {
        matching_texts: &["wasi:sockets/"],
        feature: "sockets, which cannot connect on this host in any version of WASI",
        usual_source: "an HTTP client or a database driver that opens its own connections",
        fix: "send requests with `jackfield:connector/http`",
    },
    Unsupported {
        matching_texts: &["wasi:http/incoming-handler", "wasi:http/proxy", "wasi:http/service"],
        feature: "the server side of HTTP",
        usual_source: "the world wasi:http/proxy",
        fix: "build for a world of wit/connector.wit",
    },
    Unsupported {
        matching_texts: &["wasi:config/"],
        feature: "settings of another kind of host",
        usual_source: "a world that includes wasi:config",
        fix: "read settings with `jackfield:connector/settings`",
    },
    Unsupported {
        matching_texts: &["wasi:logging/"],
        feature: "a log of another kind of host",
        usual_source: "a world that includes wasi:logging",
        fix: "write log lines with `jackfield:connector/log`, or to stderr",
    },
    Unsupported {
        matching_texts: &["wasi:keyvalue/", "wasi:blobstore/", "wasi:messaging/", "wasi:sql/"],
        feature: "a store or a queue of another kind of host",
        usual_source: "a world that includes it",
        fix: "store nothing between calls; if data must last, store it in the tracker",
    },
    Unsupported {
        matching_texts: &["wasi:tls/"],
        feature: "a TLS client",
        usual_source: "an HTTP client that makes its own connections",
        fix: "send requests with `jackfield:connector/http`, which uses TLS",
    },
    Unsupported {
        matching_texts: &["wasi:nn/", "wasi:webgpu/", "wasi:graphics-context/", "wasi:surface/"],
        feature: "an accelerator",
        usual_source: "a library for machine learning or graphics",
        fix: "leave that library out",
    },
    Unsupported {
        matching_texts: &["jackfield:connector/"],
        feature: "another version of the contract",
        usual_source: "a WIT file that is not the one of this host",
        fix: "build with wit/connector.wit of this version of Jackfield, or update Jackfield",
    },
    Unsupported {
        matching_texts: &["wasmcloud:", "fermyon:", "spin:", "fastly:", "golem:", "wasmtime:"],
        feature: "an interface that only another product provides",
        usual_source: "a library or a template for that product",
        fix: "leave it out, and build for a world of wit/connector.wit",
    },
    Unsupported {
        matching_texts: &["env", "__main_module__", "wasi_snapshot_preview1", "wasi_unstable"],
        feature: "an import of a core module",
        usual_source: "a core module that was wrapped without the adapter for WASI preview 1",
        fix: "build for wasm32-wasip2, or give `wasm-tools component new` the reactor adapter",
    },
];

const OTHER_IMPORT: Unsupported = Unsupported {
    matching_texts: &[],
    feature: "an interface of another host",
    usual_source: "the world that the component was built for",
    fix: "build for a world of wit/connector.wit",
};

const WASI_03: Unsupported = Unsupported {
    matching_texts: &[],
    feature: "WASI 0.3, which this host does not support yet",
    usual_source: "the target wasm32-wasip3, or a WIT file with `@0.3`",
    fix: "build for WASI 0.2: the target wasm32-wasip2 and packages `@0.2`",
};

const WASI_DRAFT: Unsupported = Unsupported {
    matching_texts: &[],
    feature: "an unfinished version of WASI, which this host does not support",
    usual_source: "an old toolchain, or a draft of a WIT file",
    fix: "update the toolchain, and use released packages `@0.2`",
};

/// The advice for a function that the host does not provide, although it provides the interface of
/// WASI 0.2 that contains the function.
const WASI_FUNCTION: Unsupported = Unsupported {
    matching_texts: &[],
    feature: "a function that the host's version of WASI 0.2 lacks or marks as unstable",
    usual_source: "a newer toolchain, or an `@unstable` function",
    fix: "use a toolchain for WASI 0.2 without unstable functions",
};

/// The beginnings of the names of the WASI 0.2 interfaces that the host provides.
const PROVIDED_WASI_INTERFACES: [&str; 8] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/outgoing-handler@",
    "wasi:http/types@",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

impl Unsupported {
    pub(super) fn advice(&self) -> String {
        format!("It uses {}. Usual source: {}. Fix: {}", self.feature, self.usual_source, self.fix)
    }
}

pub(super) fn unsupported_import(name: &str) -> &'static Unsupported {
    let version = name.split_once('@').map(|(_, version)| version).unwrap_or_default();
    if name.starts_with("wasi:") {
        let is_draft = version.contains("-rc") || version.contains("-draft");
        if is_draft && !has_specific_advice(name) {
            return &WASI_DRAFT;
        }
        if version.starts_with("0.3.") && !name.starts_with("wasi:sockets/") {
            return &WASI_03;
        }
        if version.starts_with("0.2.")
            && PROVIDED_WASI_INTERFACES.iter().any(|provided| name.starts_with(provided))
        {
            return &WASI_FUNCTION;
        }
    }
    let matching =
        UNSUPPORTED_IMPORTS.iter().filter(|import| import.matching_text_length(name).is_some());
    matching.max_by_key(|import| import.matching_text_length(name)).unwrap_or(&OTHER_IMPORT)
}

/// Returns whether [`UNSUPPORTED_IMPORTS`] contains advice for this interface of WASI, in addition
/// to the advice for all of WASI.
fn has_specific_advice(name: &str) -> bool {
    UNSUPPORTED_IMPORTS.iter().any(|import| import.matching_text_length(name) > Some("wasi:".len()))
}

impl Unsupported {
    fn matching_text_length(&self, name: &str) -> Option<usize> {
        let matching_texts = self.matching_texts.iter().filter(|text| name.starts_with(**text));
        matching_texts.map(|text| text.len()).max()
    }
}

/// Extends the engine's message about a component that it does not compile.
pub(super) fn explain_refusal(message: &str, wasm: &[u8]) -> String {
    let is_used =
        |feature: &&Unsupported| feature.matching_texts.iter().any(|text| message.contains(text));
    let Some(feature) = UNSUPPORTED_CODE_FEATURES.iter().find(is_used) else {
        return message.to_owned();
    };
    // The engine refuses an asynchronous import before it compares the names of imports.
    match first_wasi_03_import(wasm).filter(|_| message.contains(ASYNC_TEXT)) {
        Some(import) => format!("{message}. It imports {import}. {}", WASI_03.advice()),
        None => format!("{message}. {}", feature.advice()),
    }
}

/// Returns the name of the first import of WASI 0.3. Searches the part of the component that can be
/// parsed.
fn first_wasi_03_import(wasm: &[u8]) -> Option<String> {
    let payloads = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let sections = payloads.filter_map(|payload| match payload {
        Payload::ComponentImportSection(section) => Some(section),
        _ => None,
    });
    let imports = sections.flatten().map_while(Result::ok).take(IMPORTS_MAX);
    let mut names = imports.map(|import| import.name.name.to_owned());
    names.find(|name| name.starts_with("wasi:") && name.contains("@0.3."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_about_an_import_names_the_feature_and_the_replacement() {
        for (name, what, fix) in [
            ("wasi:http/client@0.3.0", "WASI 0.3", "wasm32-wasip2"),
            ("wasi:sockets/types@0.3.0", "sockets", "jackfield:connector/http"),
            ("wasi:sockets/tcp@0.2.0", "a function that", "unstable"),
            ("wasi:random/random@0.2.6", "a function that", "unstable"),
            ("wasi:cli/run@0.2.0-rc-2023-11-10", "unfinished", "update"),
            ("wasi:keyvalue/store@0.2.0-draft", "a store", "in the tracker"),
            ("wasi:logging/logging@0.1.0-draft", "a log", "jackfield:connector/log"),
            ("wasi:config/store@0.2.0", "settings", "jackfield:connector/settings"),
            ("wasi:http/incoming-handler@0.2.0", "the server side", "wit/connector.wit"),
            ("wasi:other/thing@0.2.0", "an interface of WASI", "leave it out"),
            ("jackfield:connector/log@0.9.0", "another version of the contract", "update"),
            ("fermyon:spin/llm@2.0.0", "product", "leave it out"),
            ("acme:tools/files@1.0.0", "another host", "wit/connector.wit"),
        ] {
            let advice = unsupported_import(name).advice();
            assert!(advice.contains(what) && advice.contains(fix), "{name}: {advice}");
        }
    }

    #[test]
    fn a_message_of_the_engine_is_extended_only_if_its_cause_is_known() {
        assert_eq!(explain_refusal("unexpected end-of-file", b""), "unexpected end-of-file");
        let explained = explain_refusal("relaxed SIMD support is not enabled", b"\0asm");
        assert!(explained.contains("-mrelaxed-simd"), "{explained}");
    }
}
