//! Searches for secrets in the settings, the environment, the arguments and in files. Also tries to
//! write files and to use sockets. Returns what it found, and which attempts succeeded.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use jackfield_test_guests::*;

struct SearchesForSecrets;

impl Behaviour for SearchesForSecrets {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{
        "url":{"type":"string","format":"uri","jackfield:origin":true},
        "header":{"type":"string","writeOnly":true,"jackfield:place":{"in":"header","name":"X-Key"}},
        "hidden":{"type":"string","writeOnly":true,"jackfield:place":{"in":"json","pointer":"/p"}}},
        "required":["url"],"additionalProperties":false}"#;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let environment: Vec<_> = std::env::vars().collect();
        let arguments: Vec<_> = std::env::args().collect();
        let files: Vec<_> = ["/", ".", "/proc/self/environ", "/etc/passwd"]
            .into_iter()
            .filter(|path| std::fs::metadata(path).is_ok() || std::fs::read(path).is_ok())
            .collect();
        let written: Vec<_> = ["/tmp/x", "x", "/x"]
            .into_iter()
            .filter(|path| std::fs::write(path, "x").is_ok() || std::fs::create_dir(path).is_ok())
            .collect();
        let sockets = try_sockets();
        let found = format!(
            "header={:?} hidden={} all={} environment={environment:?} arguments={arguments:?} \
             files={files:?} written={written:?} sockets={sockets:?}",
            settings::get("header"),
            setting("hidden"),
            settings::all()
        );
        Ok(Defect { description: Some(found), ..defect(&marker, "findings") })
    }
}

/// Tries to use sockets in five ways. Two of the ways use the server of the setting `url`. Returns
/// the names of the ways that succeeded.
fn try_sockets() -> Vec<&'static str> {
    let url = setting("url");
    let server = url.trim_start_matches("http://").trim_end_matches('/');
    let udp = UdpSocket::bind("0.0.0.0:0");
    let attempts = [
        ("connect", TcpStream::connect(server).is_ok()),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("bind UDP", udp.is_ok()),
        ("send UDP", udp.is_ok_and(|socket| socket.send_to(b"x", server).is_ok())),
        ("resolve", ("localhost", 80).to_socket_addrs().is_ok()),
    ];
    attempts.into_iter().filter(|(_, succeeded)| *succeeded).map(|(name, _)| name).collect()
}

guest!(SearchesForSecrets);
