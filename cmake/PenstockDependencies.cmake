# The libraries that Penstock stands on; README.md says what each is for.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(GNUTLS     REQUIRED IMPORTED_TARGET gnutls>=3.7.9)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.75)
pkg_check_modules(JSONC      REQUIRED IMPORTED_TARGET json-c>=0.16)
pkg_check_modules(CARES      REQUIRED IMPORTED_TARGET libcares>=1.18)
if(PENSTOCK_TESTS)
    pkg_check_modules(CHECK  REQUIRED IMPORTED_TARGET check>=0.15)
endif()

# libev ships no pkg-config file.
find_path(LIBEV_INCLUDE ev.h REQUIRED)
find_library(LIBEV_LIBRARY ev REQUIRED)
add_library(libev INTERFACE)
target_include_directories(libev SYSTEM INTERFACE ${LIBEV_INCLUDE})
target_link_libraries(libev INTERFACE ${LIBEV_LIBRARY})

# Nor does wslay.
find_path(WSLAY_INCLUDE wslay/wslay.h REQUIRED)
find_library(WSLAY_LIBRARY wslay REQUIRED)
add_library(libwslay INTERFACE)
target_include_directories(libwslay SYSTEM INTERFACE ${WSLAY_INCLUDE})
target_link_libraries(libwslay INTERFACE ${WSLAY_LIBRARY})

# llhttp: Debian 13 has the library; Debian 12 has its generated sources in node-llhttp,
# compiled here in strict mode (version 8 is lenient otherwise).
find_library(LLHTTP_LIBRARY llhttp)
find_path(LLHTTP_INCLUDE llhttp.h PATHS /usr/include /usr/share/include/llhttp NO_DEFAULT_PATH)
if(LLHTTP_LIBRARY AND EXISTS ${LLHTTP_INCLUDE}/llhttp.h AND NOT LLHTTP_INCLUDE MATCHES "/usr/share")
    add_library(llhttp INTERFACE)
    target_include_directories(llhttp SYSTEM INTERFACE ${LLHTTP_INCLUDE})
    target_link_libraries(llhttp INTERFACE ${LLHTTP_LIBRARY})
else()
    set(LLHTTP_SOURCES /usr/share/llhttp)
    if(NOT EXISTS ${LLHTTP_SOURCES}/llhttp.c)
        message(FATAL_ERROR "llhttp: neither libllhttp-dev nor node-llhttp is installed (make deps)")
    endif()
    add_library(llhttp STATIC ${LLHTTP_SOURCES}/api.c ${LLHTTP_SOURCES}/http.c ${LLHTTP_SOURCES}/llhttp.c)
    target_include_directories(llhttp SYSTEM PUBLIC /usr/share/include/llhttp)
    target_compile_definitions(llhttp PRIVATE LLHTTP_STRICT_MODE=1)
endif()
