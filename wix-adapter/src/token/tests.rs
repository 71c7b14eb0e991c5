use aws_lc_rs::rsa::KeySize;
use serde_json::{Value, json};

use super::*;
use crate::keys;
use crate::signing::{KeyFiles, generate, generate_of};

const APP: &str = "app";
const NOW: u64 = 1_790_000_000;

/// The public half of a key.
fn public(files: &KeyFiles) -> PublicKey {
    keys::parse(&files.public).expect("the key is good")
}

/// A token with these data that is good but for its key.
fn token_of(files: &KeyFiles, data: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(files.private.as_bytes()).expect("the key is good");
    let claims = json!({"data": data, "aud": APP, "iss": ISSUER, "iat": NOW, "exp": NOW + 300});
    jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::RS256), &claims, &key).expect("a token")
}

/// Whether a token is accepted.
fn verify(verifier: &Verifier, token: &str) -> Result<(), Refused> {
    verifier.verify(&UnverifiedToken(token), NOW, &mut Vec::new()).map(|_| ())
}

/// Whether a token with these data is accepted, signed with Wix's key or with that of rehearsals.
fn verdict(wix_signs: bool, data: &Value) -> Result<(), Refused> {
    let (wix, rehearsal) = (generate().expect("a key"), generate().expect("a key"));
    let verifier = Verifier::new(APP, vec![public(&wix)]);
    let verifier = verifier.with_rehearsal(Some(Reloaded::fixed(vec![public(&rehearsal)])));
    verify(&verifier, &token_of(if wix_signs { &wix } else { &rehearsal }, data))
}

#[test]
fn a_key_of_rehearsals_opens_their_site_alone() {
    let of_site = |site: &str| json!({"request": {}, "metadata": {"instanceId": site}});
    let ours = of_site(REHEARSAL_SITE_ID);
    assert_eq!(verdict(false, &ours), Ok(()));
    assert_eq!(verdict(true, &ours), Ok(()));
    let others = [
        of_site("22222222-2222-4222-8222-222222222222"),
        of_site(&REHEARSAL_SITE_ID.to_uppercase()),
        of_site(&format!("{REHEARSAL_SITE_ID} ")),
        of_site(""),
        json!({"request": {}}),
        json!({"metadata": {"instanceId": [REHEARSAL_SITE_ID]}}),
        json!({"metadata": {"instanceId": REHEARSAL_SITE_ID}, "request": {"items": 1}}),
        json!(null),
    ];
    for other in others {
        assert_eq!(verdict(false, &other), Err(Refused::NotRehearsalSite), "{other}");
        assert_eq!(verdict(true, &other), Ok(()), "{other}");
    }
}

#[test]
fn a_signature_of_a_length_that_fits_no_key_is_wrong_as_any_other() {
    let (ours, other) = (generate().expect("a key"), generate().expect("a key"));
    let verifier = Verifier::new(APP, vec![public(&ours)]);
    let token = token_of(&ours, &json!({}));
    let (message, signature) = token.rsplit_once('.').expect("a token has three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    assert_eq!(signature.len(), 256, "2,048 bits");
    let longer = [&[0_u8][..], signature.as_slice()].concat();
    let rows: [(&str, &[u8], bool); 5] = [
        ("the signature", &signature, true),
        ("empty", &[], false),
        ("a byte less", &signature[..255], false),
        ("a byte more", &longer, false),
        ("that of a larger key", &[0; 384], false),
    ];
    for (name, bytes, fits) in rows {
        let verdict = verify(&verifier, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes)));
        assert_eq!(public(&ours).fits(bytes), fits, "{name}");
        assert_eq!(verdict, if fits { Ok(()) } else { Err(Refused::WrongSignature) }, "{name}");
    }
    // Nobody can tell by the cause whether it was the length.
    assert_eq!(verify(&verifier, &token_of(&other, &json!({}))), Err(Refused::WrongSignature));
    assert_eq!(
        verify(&verifier, &format!("{message}.{}", "A".repeat(SIGNATURE_CHARS_MAX + 1))),
        Err(Refused::WrongSignature)
    );
    assert_eq!(verify(&verifier, &format!("{message}.?")), Err(Refused::NotBase64));
}

#[test]
fn keys_of_several_sizes_each_check_the_signatures_that_fit_them() {
    let small = generate().expect("a key");
    let [large, stranger] = [(); 2].map(|()| generate_of(KeySize::Rsa3072).expect("a key"));
    let (of_small, of_large) = (token_of(&small, &json!({})), token_of(&large, &json!({})));
    for keys in [vec![public(&small), public(&large)], vec![public(&large), public(&small)]] {
        let verifier = Verifier::new(APP, keys);
        assert_eq!(verify(&verifier, &of_small), Ok(()));
        assert_eq!(verify(&verifier, &of_large), Ok(()));
        assert_eq!(verify(&verifier, &token_of(&stranger, &json!({}))), Err(Refused::WrongSignature));
    }
    let verifier = Verifier::new(APP, vec![public(&small)]);
    assert_eq!(verify(&verifier, &of_large), Err(Refused::WrongSignature));
    // The keys of rehearsals have a size of their own.
    let verifier = verifier.with_rehearsal(Some(Reloaded::fixed(vec![public(&large)])));
    assert_eq!(verify(&verifier, &of_large), Err(Refused::NotRehearsalSite));
    assert_eq!(verify(&verifier, &of_small), Ok(()));
}
