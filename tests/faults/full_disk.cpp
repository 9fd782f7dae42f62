// Loaded before the C library (LD_PRELOAD): while the file that FULL_DISK_WHILE names exists, no file grows.
#include <cerrno>
#include <cstdlib>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

bool would_grow(int fd, off64_t end) {
  static const char* const sign = std::getenv("FULL_DISK_WHILE");
  struct stat file {};
  return sign && ::access(sign, F_OK) == 0 && ::fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size < end;
}

template <class F> F* next(const char* name) { return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name)); }

} // namespace

extern "C" {

ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at) {
  static const auto real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  if (would_grow(fd, at + static_cast<off64_t>(size))) return (errno = ENOSPC), -1;
  return real(fd, from, size, at);
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
}
