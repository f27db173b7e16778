//! Credentials and client certificates, and to whom they are shown.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::support::{Place, password, told};
use crate::support::trust_repo::*;
use crate::support::trust_server::{Certificates, Reply, Server, basic, client_certificate, file, good, guarded};

#[test]
fn a_client_certificate_is_shown_to_its_server_and_to_nobody_else() {
    let files = good();
    let tokens = Server::start_with(Certificates::Welcome, |_| Reply::File(json!({ "token": "tok" }).to_string().into_bytes()));
    let realm = format!("Bearer realm=\"{}/token\",service=\"rig\"", tokens.url);
    let server = Server::start_with(Certificates::Required, move |seen| {
        if seen.headers.get("authorization").is_some_and(|text| text == "Bearer tok") {
            file(&files, seen)
        } else {
            Reply::Status(401, vec![("www-authenticate", realm.clone())], Vec::new())
        }
    });
    let (certificate, key) = client_certificate();
    let other_key = client_certificate().1;
    for folder in ["docker/tls", "etc/certs.d", "etc/img-authz/certs.d"] {
        let place = Place::new();
        // For another port, it is not shown.
        place.write(&format!("{folder}/localhost:1/client.cert"), &certificate);
        place.write(&format!("{folder}/localhost:1/client.key"), &key);
        place.write(&format!("{folder}/localhost/client.cert"), &certificate);
        place.write(&format!("{folder}/localhost/client.key"), &key);
        assert!(place.verify(&server).no("trust-unreachable").contains("CertificateRequired"));
        place.write(&format!("{folder}/{}/client.cert", server.host()), &certificate);
        assert!(
            place.verify(&server).no("trust-misconfigured").contains("client.key"),
            "{folder}: a certificate without its key"
        );
        for bad in ["", "no key", &other_key] {
            place.write(&format!("{folder}/{}/client.key", server.host()), bad);
            let message = place.verify(&server).no("trust-misconfigured");
            assert!(message.contains("client certificate"), "{message}");
        }
        place.write(&format!("{folder}/{}/client.key", server.host()), &key);
        place.verify(&server).yes();
    }
    assert!(server.seen.lock().unwrap().iter().all(|seen| seen.certified));
    assert!(tokens.count() >= 3 && tokens.seen.lock().unwrap().iter().all(|seen| !seen.certified));
}

#[test]
fn an_identity_token_is_given_to_the_token_service_as_a_form_and_to_nobody_else() {
    let refresh = "refresh&me=1";
    let tokens = Server::start(move |seen| {
        let form: std::collections::BTreeMap<String, String> =
            img_authz::net::Url::parse(&format!("form:?{}", seen.body)).unwrap().query_pairs().into_owned().collect();
        let fits = form.get("grant_type").is_some_and(|text| text == "refresh_token")
            && form.get("refresh_token").is_some_and(|text| text == refresh)
            && form.get("scope").is_some_and(|text| *text == format!("repository:{GUN}:pull"))
            && form.get("service").is_some_and(|text| text == "rig")
            && form.contains_key("client_id")
            && seen.path == "/token";
        if fits {
            Reply::File(json!({ "access_token": "tok", "expires_in": 300, "refresh_token": "another" }).to_string().into_bytes())
        } else {
            Reply::Status(401, Vec::new(), Vec::new())
        }
    });
    let challenge = format!("Bearer realm=\"{}/token\",service=\"rig\"", tokens.url);
    let (place, server) = (Place::new(), guarded(challenge, "Bearer tok".to_owned()));
    place.login("reg.example:5000", &json!({ "identitytoken": refresh }));
    place.verify(&server).yes();
    assert_eq!(tokens.count(), 1, "one token for all files");
    assert!(!told(&server).contains("refresh"));
    // Another one is not accepted; one for another host is not sent.
    place.login("reg.example:5000", &json!({ "identitytoken": "outdated" }));
    let message = place.verify(&server).no("trust-unauthorized");
    assert!(message.contains("does not accept") && !message.contains("outdated"), "{message}");
    let before = tokens.count();
    place.login("reg.example:5001", &json!({ "identitytoken": refresh }));
    place.verify(&server).no("trust-unauthorized");
    assert!(tokens.seen.lock().unwrap().iter().skip(before).all(|seen| !seen.text().contains("refresh")));
    // Where a password is asked for, it is none.
    let (place, server) = (Place::new(), guarded("Basic realm=\"notary\"".to_owned(), "never".to_owned()));
    place.login("reg.example:5000", &json!({ "identitytoken": refresh }));
    assert!(place.verify(&server).no("trust-unauthorized").contains("identity token"));
    assert!(!told(&server).contains("refresh"));
}

#[test]
fn credentials_of_another_host_are_sent_to_nobody() {
    let thief = Server::start(|_| Reply::File(json!({ "token": "tok" }).to_string().into_bytes()));
    let challenges = ["Basic realm=\"x\"".to_owned(), format!("Bearer realm=\"{}/token\"", thief.url)];
    for challenge in challenges {
        let server = guarded(challenge, "Bearer never".to_owned());
        for host in ["reg.example", "reg.example:5001", "example:5000", "REG.example:5000x", "localhost", server.host(), "*", ""]
        {
            let place = Place::new();
            place.login(host, &password());
            place.verify(&server).no("trust-unauthorized");
        }
        assert!(!told(&server).contains(&STANDARD.encode("rig:secret")));
    }
    assert!(thief.count() > 0 && !told(&thief).contains(&STANDARD.encode("rig:secret")));
}

#[test]
fn credentials_do_not_follow_a_redirect_or_an_error() {
    let thief = Arc::new(Server::files(good()));
    for status in [301, 302, 303, 307, 308] {
        let target = thief.url.clone();
        // It takes the password, and then leads elsewhere.
        let server = Server::start(move |seen| {
            if seen.headers.contains_key("authorization") {
                Reply::Status(status, vec![("location", format!("{target}{}", seen.path))], Vec::new())
            } else {
                Reply::Status(401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], Vec::new())
            }
        });
        let place = Place::new();
        place.login("reg.example:5000", &password());
        assert!(place.verify(&server).no("trust-unreachable").contains(&format!("status {status}")));
    }
    assert_eq!(thief.count(), 0);
}

#[test]
fn a_credential_helper_is_named_and_not_started() {
    let server = guarded("Basic realm=\"notary\"".to_owned(), basic());
    for config in [json!({ "credsStore": "touch" }), json!({ "credHelpers": { "reg.example:5000": "touch" } })] {
        let place = Place::new();
        place.write("docker/config.json", &config.to_string());
        // It would be found, and leave a mark.
        let helper = place.write("bin/docker-credential-touch", "#!/bin/sh\ntouch \"$0.ran\"\n");
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let ran = place.verify_with(&server, |command| command.env("PATH", place.path("bin")));
        assert!(ran.no("trust-unauthorized").contains("credential helper, which is never started; put them in `auths`"));
        assert!(!place.path("bin/docker-credential-touch.ran").exists());
        // What stands in `auths` all the same counts.
        let mut with = config.clone();
        with["auths"] = json!({ "reg.example:5000": password() });
        place.write("docker/config.json", &with.to_string());
        place.verify(&server).yes();
    }
}

#[test]
fn a_docker_configuration_that_is_broken_is_none() {
    let server = Server::files(good());
    let place = Place::new();
    std::fs::create_dir_all(place.path("docker")).unwrap();
    let path = place.path("docker/config.json");
    let make: [&dyn Fn(); 5] = [
        &|| std::fs::write(&path, "{\"auths\": {\"x\": {\"auth\": \"c2VjcmV0").unwrap(),
        &|| std::fs::write(&path, [0xff; 100]).unwrap(),
        &|| std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap(),
        &|| std::fs::create_dir(&path).unwrap(),
    ];
    for make in make {
        let _ = std::fs::remove_file(&path);
        make();
        let ran = place.verify(&server);
        ran.yes();
        assert!(!ran.err.contains("c2Vj"), "{ran:?}");
    }
}
