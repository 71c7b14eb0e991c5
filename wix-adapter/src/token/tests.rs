use serde_json::{Value, json};

use super::*;
use crate::signing::generate;

const APP: &str = "app";
const NOW: u64 = 1_790_000_000;

/// Whether a token with these data is accepted, signed with Wix's key or with that of rehearsals.
fn verdict(wix_signs: bool, data: &Value) -> Result<(), Refused> {
    let (wix, rehearsal) = (generate().expect("a key"), generate().expect("a key"));
    let public = |text: &str| crate::keys::parse(text).expect("the key is good");
    let verifier = Verifier::new(APP, vec![public(&wix.public)]);
    let verifier = verifier.with_rehearsal(Some(Reloaded::fixed(vec![public(&rehearsal.public)])));
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(if wix_signs { &wix } else { &rehearsal }.private.as_bytes());
    let claims = json!({"data": data, "aud": APP, "iss": ISSUER, "iat": NOW, "exp": NOW + 300});
    let header = jsonwebtoken::Header::new(Algorithm::RS256);
    let token = jsonwebtoken::encode(&header, &claims, &key.expect("the key is good")).expect("a token");
    verifier.verify(&UnverifiedToken(&token), NOW, &mut Vec::new()).map(|_| ())
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
