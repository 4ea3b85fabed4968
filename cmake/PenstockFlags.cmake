# Compiler flags of our own code: C11, every warning an error, hardened in release.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

option(PENSTOCK_TESTS "build the tests" OFF)
option(PENSTOCK_FUZZ "build the fuzz targets with libFuzzer (clang)" OFF)
set(PENSTOCK_SANITIZE "" CACHE STRING "value of -fsanitize=, empty for none")

add_library(penstock_flags INTERFACE)
target_compile_definitions(penstock_flags INTERFACE _GNU_SOURCE PENSTOCK_VERSION="${PROJECT_VERSION}"
    PENSTOCK_DATE="${PENSTOCK_DATE}")
target_compile_options(penstock_flags INTERFACE
    -Wall -Wextra -Werror -Wconversion -Wswitch-enum -Wshadow -Wvla -Wformat=2 -Wundef
    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith
    -fno-common -fno-strict-aliasing -fstack-protector-strong)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # must(!"what cannot be") is how a place that is never reached says so.
    target_compile_options(penstock_flags INTERFACE -Wno-string-conversion)
endif()
target_include_directories(penstock_flags INTERFACE ${CMAKE_SOURCE_DIR}/lib)
target_link_options(penstock_flags INTERFACE -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_definitions(penstock_flags INTERFACE _FORTIFY_SOURCE=2)
    target_link_options(penstock_flags INTERFACE -pie)
endif()
if(PENSTOCK_SANITIZE)
    add_compile_options(-fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${PENSTOCK_SANITIZE})
    if(PENSTOCK_SANITIZE MATCHES "undefined")
        add_compile_options(-fno-sanitize-recover=undefined)
    endif()
endif()
if(PENSTOCK_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link) # so that the fuzzer sees which code it reached
endif()
