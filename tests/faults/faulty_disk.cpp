// Loaded before the C library (LD_PRELOAD): a disk that is as the files in the folder FAULTY_DISK say. While there is one of
// the name `full`, no file grows; while there is `slow`, each sync lasts as many milliseconds longer as it says; while there is
// `failing`, no sync succeeds.
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>

namespace {

std::string sign(const char* name) {
  static const char* const folder = std::getenv("FAULTY_DISK");
  return folder ? std::string(folder) + "/" + name : std::string();
}
bool is(const char* name) { return ::access(sign(name).c_str(), F_OK) == 0; }

bool would_grow(int fd, off64_t end) {
  struct stat file {};
  return is("full") && ::fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size < end;
}

template <class F> F* next(const char* name) { return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name)); }

int sync_file(int fd, const char* how) {
  if (is("failing")) return (errno = EIO), -1;
  int milliseconds = 0;
  if (std::ifstream(sign("slow")) >> milliseconds) std::this_thread::sleep_for(std::chrono::milliseconds{milliseconds});
  return next<int(int)>(how)(fd);
}

ssize_t write_at(int fd, const void* from, size_t size, off64_t at, const char* how) {
  if (would_grow(fd, at + static_cast<off64_t>(size))) return (errno = ENOSPC), -1;
  return next<ssize_t(int, const void*, size_t, off64_t)>(how)(fd, from, size, at);
}

} // namespace

extern "C" {

ssize_t pwrite(int fd, const void* from, size_t size, off_t at) { return write_at(fd, from, size, at, "pwrite"); }
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) { return write_at(fd, from, size, at, "pwrite64"); }

ssize_t pwritev(int fd, const iovec* parts, int count, off_t at) {
  off64_t end = at;
  for (int i = 0; i < count; ++i) end += static_cast<off64_t>(parts[i].iov_len);
  if (would_grow(fd, end)) return (errno = ENOSPC), -1;
  return next<ssize_t(int, const iovec*, int, off_t)>("pwritev")(fd, parts, count, at);
}

ssize_t write(int fd, const void* from, size_t size) {
  static const auto real = next<ssize_t(int, const void*, size_t)>("write");
  if (fd > STDERR_FILENO && would_grow(fd, ::lseek64(fd, 0, SEEK_CUR) + static_cast<off64_t>(size))) return (errno = ENOSPC), -1;
  return real(fd, from, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
  static const auto real = next<int(int, off_t, off_t)>("posix_fallocate");
  return would_grow(fd, at + size) ? ENOSPC : real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

int fsync(int fd) { return sync_file(fd, "fsync"); }
int fdatasync(int fd) { return sync_file(fd, "fdatasync"); }
}
