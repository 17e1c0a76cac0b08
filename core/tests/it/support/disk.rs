//! Small disks, mounted for a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::not_run;

/// A small disk; unmounted when dropped.
pub(crate) struct Disk {
    dir: tempfile::TempDir,
    /// The file that holds the disk, if it is not in memory.
    _image: Option<tempfile::NamedTempFile>,
}

impl Disk {
    /// Mounts a disk in memory, which only root may do.
    #[track_caller]
    pub(crate) fn in_memory(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            succeeds(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()));
        if !mounted {
            not_run("needs root, to mount a small disk");
        }
        // Dropping a `Disk` unmounts it, so there must be one only if something was mounted.
        mounted.then(|| Self { dir, _image: None })
    }

    /// Mounts a disk with the file system ext4, in a file.
    #[track_caller]
    pub(crate) fn ext4(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(bytes).unwrap();
        let mounted = succeeds(Command::new("mkfs.ext4").arg("-q").arg(image.path()))
            && succeeds(Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(dir.path()));
        if !mounted {
            not_run("needs root, mkfs.ext4 and loop devices, to mount a small disk in a file");
        }
        mounted.then(|| Self { dir, _image: Some(image) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// Writes a file until nothing more fits.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for portion in [1 << 16, 1 << 10, 1] {
            while std::io::Write::write_all(&mut file, &vec![0; portion]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(
            succeeds(Command::new("umount").arg("--lazy").arg(self.dir.path())),
            "the disk stays mounted"
        );
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
