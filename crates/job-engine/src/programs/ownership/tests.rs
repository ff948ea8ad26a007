use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const ME: Trust = Trust { user: 1000, private_group: Some(1001) };

#[test]
fn only_root_and_the_executors_user_may_write() {
    let rows = [
        // owner, group, mode, link, above
        ((1000, 1000, 0o755, false, false), None),
        ((0, 0, 0o755, false, false), None),
        ((0, 0, 0o755, false, true), None),
        ((1002, 1000, 0o755, false, false), Some(Distrust::Owner(1002))),
        ((1002, 1000, 0o755, false, true), Some(Distrust::Owner(1002))),
        ((1002, 1000, 0o1777, false, true), Some(Distrust::Owner(1002))),
        ((1000, 1000, 0o757, false, false), Some(Distrust::Others)),
        ((0, 0, 0o777, false, true), Some(Distrust::Others)),
        // `/tmp`: nobody can put something else in the place of what lies in it …
        ((0, 0, 0o1777, false, true), None),
        // … and everybody can put something beside it
        ((0, 0, 0o1777, false, false), Some(Distrust::Others)),
        ((1000, 1000, 0o775, false, false), Some(Distrust::Group(1000))),
        ((1000, 1001, 0o775, false, false), None),
        ((0, 50, 0o775, false, true), Some(Distrust::Group(50))),
        // what a link allows says nothing, whose it is does
        ((1000, 1000, 0o777, true, false), None),
        ((1002, 1000, 0o777, true, true), Some(Distrust::Owner(1002))),
    ];
    for ((owner, group, mode, is_link, is_above), expected) in rows {
        let facts = Facts { owner, group, mode, is_link, is_above };
        assert_eq!(ME.distrust(facts), expected, "{facts:?}");
    }
}

#[test]
fn a_group_is_private_if_nobody_else_is_in_it() {
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\njane:x:1000:1000::/data/jane:/bin/sh\n\
                          joe:x:1001:100::/data/joe:/bin/sh\nkim:x:1002:100::/data/kim:/bin/sh\nnonsense\n";
    for (user, groups, expected) in [
        (1000, "jane:x:1000:\n", Some(1000)),
        (1000, "jane:x:1000:jane\n", Some(1000)),
        (1000, "jane:x:1000:jane,joe\n", None),
        (1000, "jane:x:1000:\nalias:x:1000:joe\n", None),
        (1000, "users:x:100:\n", None),
        (1001, "users:x:100:\n", None),
        (0, "root:x:0:\n", Some(0)),
        (4711, "jane:x:1000:\n", None),
    ] {
        assert_eq!(private_group(user, PASSWD, groups), expected, "{user} {groups}");
    }
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let place = Path::new("/srv/a.sh");
    for (distrust, (is_link, is_above), expected) in [
        (
            Distrust::Owner(7),
            (true, false),
            "it belongs to user 7, whose programs are not run: chown it to root or user 1000",
        ),
        (
            Distrust::Owner(7),
            (true, true),
            "the link /srv/a.sh on the way to it belongs to user 7, whose programs are not run: chown it to root or user 1000",
        ),
        (Distrust::Group(7), (false, false), "group 7 may write it: chmod g-w /srv/a.sh"),
        (Distrust::Others, (false, false), "everybody may write it: chmod o-w /srv/a.sh"),
        (Distrust::Others, (false, true), "everybody may write the folder /srv/a.sh above it: chmod o-w /srv/a.sh"),
    ] {
        let facts = Facts { owner: 7, group: 7, mode: 0, is_link, is_above };
        assert_eq!(ME.explain(distrust, place, facts), expected);
    }
}

#[test]
fn the_folders_above_and_what_links_lead_to_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::of_this_process();
    let (above, actions) = (folder.path().join("above"), folder.path().join("above/actions"));
    fs::create_dir_all(&actions).unwrap();
    let (file, link) = (actions.join("a.sh"), folder.path().join("link.sh"));
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in [&above, &actions, &file] {
        set(path, 0o755);
    }
    assert_eq!(trust.check(&link), Ok(fs::canonicalize(&file).unwrap()));
    for (path, wrong) in
        [(&file, "it: chmod o-w".to_owned()), (&above, format!("the folder {} above it", above.display()))]
    {
        set(path, 0o757);
        for looked_at in [&file, &link] {
            let refused = trust.check(looked_at).unwrap_err();
            assert!(refused.starts_with("everybody may write ") && refused.contains(&wrong), "{refused}");
        }
        set(path, 0o755);
    }
    fs::remove_file(&file).unwrap();
    assert!(trust.check(&link).unwrap_err().starts_with("it is a link that leads nowhere"));
    assert!(trust.check(&file).unwrap_err().starts_with("No such file"));
}

#[test]
fn each_link_on_the_way_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for folder in ["start", "one", "two", "end"] {
        fs::create_dir(path(folder)).unwrap();
    }
    fs::write(path("end/a.sh"), "").unwrap();
    // a file: start/a.sh, one/b.sh, two/c.sh, end/a.sh
    symlink(path("one/b.sh"), path("start/a.sh")).unwrap();
    symlink("../two/c.sh", path("one/b.sh")).unwrap();
    symlink("./../end/a.sh", path("two/c.sh")).unwrap();
    // a folder: start/folder, one/folder, end
    symlink("../one/folder", path("start/folder")).unwrap();
    symlink(path("end"), path("one/folder")).unwrap();
    let set = |name: &str, mode: u32| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    for name in ["start", "one", "two", "end", "end/a.sh"] {
        set(name, 0o755);
    }
    let trust = Trust::of_this_process();
    let real = fs::canonicalize(path("end/a.sh")).unwrap();
    let ways: [(&str, &[&str]); 2] =
        [("start/a.sh", &["start", "one", "two", "end"]), ("start/folder/a.sh", &["start", "one", "end"])];
    for (file, folders) in ways {
        assert_eq!(trust.check(&path(file)), Ok(real.clone()), "{file}");
        for folder in folders {
            set(folder, 0o757);
            let refused = trust.check(&path(file)).unwrap_err();
            let place = path(folder).canonicalize().unwrap();
            let expected = format!("everybody may write the folder {0} above it: chmod o-w {0}", place.display());
            assert_eq!(refused, expected, "{file}");
            set(folder, 0o755);
        }
    }
    symlink("loop", path("start/loop")).unwrap();
    let refused = trust.check(&path("start/loop")).unwrap_err();
    assert!(refused.starts_with("it is a link that leads nowhere (Too many levels"), "{refused}");
}
