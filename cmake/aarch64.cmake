# Debian's cross compiler for arm64, with its arm64 libraries beside ours (make cross-arm64).  A program that
# was made so is asked for its pages where qemu-user can run it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
find_program(QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(QEMU)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU} -L /)
endif()
# So that a binary made elsewhere is never found for it.
set(CMAKE_IGNORE_PREFIX_PATH /usr/local)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
