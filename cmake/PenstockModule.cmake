# One folder = one module = one target.

# penstock_module(name LIBS ...): lib/<name>/*.c as a static library called <name>.
function(penstock_module name)
    cmake_parse_arguments(M "" "" "LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/${name}/*.c)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PRIVATE penstock_flags PUBLIC ${M_LIBS})
    set_property(GLOBAL APPEND PROPERTY PENSTOCK_MODULES ${name})
endfunction()

# penstock_service(name LIBS ...): services/<name>/*.c but main.c as a library (so that tests can
# link it), main.c as build/<preset>/bin/penstock-<name>.
function(penstock_service name)
    cmake_parse_arguments(S "" "" "LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/services/${name}/*.c)
    list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/services/${name}/main.c)
    add_library(service_${name} STATIC ${sources})
    # The API's description is embedded with .incbin, which the compiler's dependencies do not show;
    # nor does link-time optimization see what the assembler defines.
    file(GLOB descriptions CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/api/*.yaml)
    set_source_files_properties(${CMAKE_SOURCE_DIR}/services/${name}/${name}_openapi.c
        PROPERTIES OBJECT_DEPENDS "${descriptions}" COMPILE_OPTIONS -fno-lto)
    # So is the hub's page.
    file(GLOB page CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/services/${name}/dashboard/*)
    if(page)
        set_source_files_properties(${CMAKE_SOURCE_DIR}/services/${name}/dashboard.c
            PROPERTIES OBJECT_DEPENDS "${page}" COMPILE_OPTIONS -fno-lto)
    endif()
    target_include_directories(service_${name} PUBLIC ${CMAKE_SOURCE_DIR}/services)
    target_link_libraries(service_${name} PRIVATE penstock_flags PUBLIC ${S_LIBS})
    set_property(GLOBAL APPEND PROPERTY PENSTOCK_MODULES service_${name})
    add_executable(penstock-${name} ${CMAKE_SOURCE_DIR}/services/${name}/main.c)
    target_link_libraries(penstock-${name} PRIVATE penstock_flags service_${name})
endfunction()
