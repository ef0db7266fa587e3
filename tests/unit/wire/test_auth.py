"""Keys, challenges and proofs, against the standard library's own functions."""

import hmac
import multiprocessing.connection as stdlib
from multiprocessing import current_process

import pytest

from mpshared.wire import auth
from mpshared.wire.errors import AuthenticationRefused, WeakKey

KEY = b"0123456789abcdef"
BARE = b"n" * 20
NAMED = b"{sha256}" + b"n" * 40


def test_keys_are_bytes_and_long_enough():
    assert auth.check_key(KEY) == KEY
    with pytest.raises(WeakKey, match="16 random bytes"):
        auth.check_key(KEY[:15])
    with pytest.raises(WeakKey):
        auth.check_key(b"")
    with pytest.raises(TypeError, match="not str"):
        auth.check_key("0123456789abcdef")  # type: ignore[arg-type]


def test_a_process_own_key_is_taken_as_it_is():
    key = auth.check_key(type(current_process().authkey)(KEY))
    assert type(key) is bytes


def test_a_bare_challenge_is_answered_with_bare_md5():
    assert auth.answer_challenge(KEY, BARE, md5_allowed=True) == hmac.digest(KEY, BARE, "md5")


@pytest.mark.parametrize("digest", ["md5", "sha256", "sha384", "sha3_256", "sha3_384"])
def test_a_named_challenge_is_answered_with_its_digest(digest):
    challenge = b"{%s}" % digest.encode() + b"n" * 40
    answer = auth.answer_challenge(KEY, challenge, md5_allowed=True)
    assert answer == b"{%s}" % digest.encode() + hmac.digest(KEY, challenge, digest)
    assert auth.match_answer([KEY], challenge, answer, md5_allowed=True) == (digest, 0)


def test_a_bare_answer_is_md5_over_the_whole_named_challenge():
    """So do clients of Python 3.11 and earlier, who do not know what the name means."""
    answer = hmac.digest(KEY, NAMED, "md5")
    assert auth.match_answer([KEY], NAMED, answer, md5_allowed=True) == ("md5", 0)


@pytest.mark.parametrize(
    "answer", [hmac.digest(KEY, NAMED, "md5"), b"{md5}" + hmac.digest(KEY, NAMED, "md5")]
)
def test_md5_needs_permission(answer):
    with pytest.raises(AuthenticationRefused, match="MD5"):
        auth.match_answer([KEY], NAMED, answer, md5_allowed=False)
    for challenge in (BARE, b"{md5}" + b"n" * 40):
        with pytest.raises(AuthenticationRefused, match="MD5"):
            auth.answer_challenge(KEY, challenge, md5_allowed=False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{sha256}",
        b"{sha256}" + b"x" * 32,
        b"{sha256}" + hmac.digest(b"another key, as long", NAMED, "sha256"),
        b"{sha256}" + hmac.digest(KEY, NAMED, "sha256")[:-1],
        b"{sha256}" + hmac.digest(KEY, NAMED, "sha256") + b"x",
        b"{sha384}" + hmac.digest(KEY, NAMED, "sha256"),
        b"{sha1}" + hmac.digest(KEY, NAMED, "sha1"),
        b"{nonsense}" + b"x" * 32,
        b"x" * 16,
        b"x" * 20,
        b"#CHALLENGE#" + NAMED,
    ],
)
def test_wrong_answers_are_refused(answer):
    with pytest.raises(AuthenticationRefused):
        auth.match_answer([KEY], NAMED, answer, md5_allowed=True)


@pytest.mark.parametrize(
    "challenge",
    [b"", b"n" * 19, b"n" * 40, b"{sha256}" + b"n" * 11, b"{sha1}" + b"n" * 40, b"sha256}" + b"n" * 40],
)
def test_challenges_that_cannot_be_answered_are_refused(challenge):
    with pytest.raises(AuthenticationRefused):
        auth.answer_challenge(KEY, challenge, md5_allowed=True)


def test_a_python_without_md5_refuses_instead_of_failing(monkeypatch):
    def without_md5(*_args):
        raise ValueError("disabled for FIPS")

    monkeypatch.setattr(hmac, "digest", without_md5)
    with pytest.raises(AuthenticationRefused, match="FIPS"):
        auth.answer_challenge(KEY, BARE, md5_allowed=True)


def test_a_proof_is_bound_to_role_and_to_every_byte_before_it():
    key = auth.derive_key(KEY)
    proofs = {
        auth.prove(key, b"client", b"hello", b"answer"),
        auth.prove(key, b"server", b"hello", b"answer"),
        auth.prove(key, b"client", b"hell", b"oanswer"),
        auth.prove(key, b"client", b"hello", b"answer!"),
        auth.prove(key, b"client", b"", b"helloanswer"),
        auth.prove(auth.derive_key(KEY[:-1] + b"x"), b"client", b"hello", b"answer"),
    }
    assert len(proofs) == 6


def test_nobody_can_be_challenged_to_compute_the_derived_key():
    """A holder of the key who answers the label as a challenge must not answer with HMAC-SHA256."""
    derived = auth.derive_key(KEY)
    with pytest.raises(AuthenticationRefused):
        auth.answer_challenge(KEY, auth._LABEL, md5_allowed=True)
    create = getattr(stdlib, "_create_response", None)
    if create is not None:  # Python 3.12 and later; earlier ones know MD5 only
        with pytest.raises(Exception, match="unsupported"):
            create(KEY, auth._LABEL)
    assert len(derived) == 32
