/*
 * What DWARF allows and C has no use for, or compilers seldom write: types of odd sizes, scopes
 * in scopes, declarations with sizes, definitions that borrow their name, references to nothing.
 */
	.include "dwarf.inc"

	function taken, without_parameters, inside

	.set TAG_lexical_block, 0x0b
	.set TAG_label, 0x0a
	.set TAG_class, 0x02
	.set TAG_namespace, 0x39
	.set TAG_inheritance, 0x1c
	.set TAG_template_type, 0x2f
	.set TAG_call_site, 0x48
	.set ATE_complex, 3
	.set ATE_address, 1
	.set ATE_decimal_float, 0x0f

	.section .debug_abbrev,"",%progbits
.Labbrev:
	abbrev 1, TAG_compile_unit, 1, AT_name, FORM_string, AT_language, FORM_data1
	abbrev 2, TAG_base, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_encoding, FORM_data1
	abbrev 3, TAG_typedef, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 4, TAG_structure, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_declaration, FORM_flag_present
	abbrev 5, TAG_enumeration, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_declaration, FORM_flag_present
	abbrev 6, TAG_enumeration, 0, AT_name, FORM_string
	abbrev 7, TAG_unspecified, 0, AT_name, FORM_string
	abbrev 8, TAG_class, 1, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 9, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_member_location, FORM_data1
	abbrev 10, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_external, FORM_flag_present
	abbrev 11, TAG_inheritance, 0, AT_type, FORM_ref4, AT_member_location, FORM_data1
	abbrev 12, TAG_template_type, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 13, TAG_structure, 1, AT_byte_size, FORM_data1, AT_specification, FORM_ref4
	abbrev 14, TAG_namespace, 1, AT_name, FORM_string
	abbrev 15, TAG_subroutine, 1, AT_type, FORM_ref4
	abbrev 16, TAG_formal_parameter, 0, AT_type, FORM_ref4
	abbrev 17, TAG_subprogram, 1, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 18, TAG_lexical_block, 1
	abbrev 19, TAG_inlined, 1
	abbrev 20, TAG_call_site, 1
	abbrev 21, TAG_label, 0, AT_name, FORM_string
	abbrev 22, TAG_array, 0, AT_type, FORM_ref4
	abbrev 23, TAG_pointer, 0
	abbrev 24, TAG_subprogram, 0, AT_name, FORM_string
	abbrev 25, TAG_structure, 1, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 26, TAG_member, 0, AT_type, FORM_ref4, AT_data_bit_offset, FORM_data1
	abbrev 27, TAG_enumeration, 1, AT_byte_size, FORM_data1, AT_type, FORM_ref4
	abbrev 28, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_sdata
	abbrev 29, TAG_compile_unit, 0, AT_name, FORM_string
	abbrev 30, TAG_subroutine, 0
	.byte 0

.macro base name:req, size:req, encoding:req
	die 2
	.asciz "\name"
	.byte \size, \encoding
.endm
.macro alias name:req, type:req
	die 3
	.asciz "\name"
	.4byte \type - .Linfo
.endm

	.section .debug_info,"",%progbits
	/* A unit that is only a root, and one without `int`, whose arrays need one. */
	.4byte 1f - 0f
0:	.2byte 5
	.byte 1, ADDRESS
	.4byte .Labbrev
	die 29
	.asciz "empty.c"
1:	.4byte 1f - 0f
0:	.2byte 5
	.byte 1, ADDRESS
	.4byte .Labbrev
	die 1
	.asciz "without_int.c"
	.byte LANG_C99
2:	base "signed char", 1, 6
	die 22
	.4byte 2b - 0b + 4
	end
1:

.Linfo:
	.4byte .Lend - .Lunit
.Lunit:
	.2byte 5
	.byte 1, ADDRESS
	.4byte .Labbrev
	die 1
	.asciz "nameless.c"
	.byte LANG_C99

	/* ---- base types ---- */
.Lint:	base "int", 4, ATE_signed
	base "of_three", 3, ATE_unsigned
	base "of_none", 0, ATE_signed
	base "of_32", 32, ATE_unsigned
	base "of_16", 16, ATE_signed
	base "char16_t", 2, ATE_UTF
	base "bool32", 4, ATE_boolean
	base "address_t", ADDRESS, ATE_address
	base "decimal", 8, ATE_decimal_float
	base "half", 2, ATE_float
	base "extended", 12, ATE_float
	base "quad", 16, ATE_float

	/* ---- declared, unspecified, unknown ---- */
	die 4
	.asciz "declared"
	.byte 8
	die 5
	.asciz "declared_enum"
	.byte 2
	die 6
	.asciz "empty_enum"
.Lunspecified: die 7
	.asciz "decltype(nullptr)"
	alias to_unspecified, .Lunspecified
.Lvoid_pointer: die 23
	die 30

	/* ---- classes, as C++ has them ---- */
.Lclass: die 8
	.asciz "class_of_c"
	.byte 8
	die 11
	.4byte .Ldefined - .Linfo
	.byte 0
	die 12
	.asciz "T"
	.4byte .Lint - .Linfo
	die 9
	.asciz "a"
	.4byte .Lint - .Linfo
	.byte 0
	die 10				/* static */
	.asciz "b"
	.4byte .Lint - .Linfo
	die 25				/* nested */
	.asciz "nested"
	.byte 4
	die 26				/* a member without a name */
	.4byte .Lint - .Linfo
	.byte 0
	end
	end

.Ldeclared: die 4
	.asciz "declared_first"
	.byte 0
.Ldefined: die 13			/* its name is that of the declaration */
	.byte 4
	.4byte .Ldeclared - .Linfo
	die 9
	.asciz "a"
	.4byte .Lint - .Linfo
	.byte 0
	end

	die 14
	.asciz "outer"
	die 14
	.asciz "inner"
	alias in_namespace, .Lint
	end
	end

	die 27				/* unsigned by its type, signed by its value */
	.byte 8
	.4byte .Lint - .Linfo
	die 28
	.asciz "WIDE"
	.sleb128 -1
	end

	/* ---- types in places where C puts none ---- */
	die 15
	.4byte .Lint - .Linfo
	die 16
	.4byte .Lvoid_pointer - .Linfo
	alias in_subroutine_type, .Lint
	end
	die 17
	.asciz "taken"
	.4byte .Lint - .Linfo
	alias in_function, .Lint
	die 18
	alias in_block, .Lint
	die 21
	.asciz "label"
	die 18
	alias in_block_in_block, .Lint
	end
	die 19
	alias in_inlined, .Lint
	die 18
	alias in_block_in_inlined, .Lint
	end
	end
	end
	die 20
	alias not_in_call_site, .Lint
	end
	die 24				/* a function in a function */
	.asciz "inside"
	end
	die 24
	.asciz "without_parameters"
	end
.Lend:
