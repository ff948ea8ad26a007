use super::*;

#[test]
fn hosts_are_checked() {
    for good in ["a", "a:1", "a/", "a:2181,b:2181", "a:2181,b:2181/chroot/deep", "127.0.0.1:1,[::1]:2"] {
        assert!(ZooKeeper::new(Settings::new(good)).is_ok(), "{good}");
    }
    for wrong in ["", ",", "a,", "a:0", "a:70000", "a:b", "a/x,b", "a//", "a b", "/x", ":1"] {
        assert!(ZooKeeper::new(Settings::new(wrong)).is_err(), "{wrong}");
    }
}
