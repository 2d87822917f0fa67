//! What a file may say, and what a bad one is answered.

use super::*;

#[test]
fn the_default_file_is_the_default_configuration() {
    let config = Loader::from_text("default.toml", DEFAULT_FILE)
        .finish()
        .unwrap();
    assert_eq!(
        config,
        Config {
            development: false,
            ..Config::default()
        }
    );
}
