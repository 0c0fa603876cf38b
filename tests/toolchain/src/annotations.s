/*
 * GCC's annotations: tags in a chain of DIEs, to which an attribute leads. Chains stand before and
 * after the DIEs that have them, and are shared.
 */
	.include "dwarf.inc"

	.set TAG_LLVM_annotation, 0x6000
	.set TAG_GNU_annotation, 0x6001
	.set AT_GNU_annotation, 0x2139

	function tagged_function, plain_function

	.section .data,"aw",%progbits
	.globl variable
	.type variable, %object
variable:
	.4byte 1
	.size variable, 4

	.section .debug_abbrev,"",%progbits
.Labbrev:
	abbrev 1, TAG_compile_unit, 1, AT_name, FORM_string, AT_language, FORM_data1
	abbrev 2, TAG_base, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_encoding, FORM_data1
	abbrev 3, TAG_GNU_annotation, 0, AT_name, FORM_string, AT_const_value, FORM_string
	abbrev 4, TAG_GNU_annotation, 0, AT_name, FORM_string, AT_const_value, FORM_string, AT_GNU_annotation, FORM_ref4
	abbrev 5, TAG_pointer, 0, AT_type, FORM_ref4, AT_GNU_annotation, FORM_ref4
	abbrev 6, TAG_pointer, 0, AT_GNU_annotation, FORM_ref4
	abbrev 7, TAG_pointer, 1, AT_type, FORM_ref4, AT_GNU_annotation, FORM_ref4
	abbrev 8, TAG_LLVM_annotation, 0, AT_name, FORM_string, AT_const_value, FORM_string
	abbrev 9, TAG_structure, 1, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_GNU_annotation, FORM_ref4
	abbrev 10, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_member_location, FORM_data1
	abbrev 11, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_member_location, FORM_data1, AT_GNU_annotation, FORM_ref4
	abbrev 12, TAG_union, 1, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 13, TAG_typedef, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_GNU_annotation, FORM_ref4
	abbrev 14, TAG_variable, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_external, FORM_flag_present, AT_location, FORM_exprloc, AT_GNU_annotation, FORM_ref4
	abbrev 15, TAG_subprogram, 1, AT_name, FORM_string, AT_type, FORM_ref4, AT_GNU_annotation, FORM_ref4
	abbrev 16, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 17, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_GNU_annotation, FORM_ref4
	abbrev 18, TAG_subprogram, 0, AT_name, FORM_string
	.byte 0

	.section .debug_info,"",%progbits
.Linfo:
	.4byte .Lend - .Lunit
.Lunit:
	.2byte 5
	.byte 1, ADDRESS
	.4byte .Labbrev
	die 1
	.asciz "annotations.c"
	.byte LANG_C99

.Lint:	die 2
	.asciz "int"
	.byte 4, ATE_signed
.Lbefore: die 3
	.asciz "btf_type_tag"
	.asciz "before"

	/* int user * */
.Lone:	die 5
	.4byte .Lint - .Linfo, .Luser - .Linfo
	/* void outer inner *: the tag nearest to the star is the first */
.Ltwo:	die 6
	.4byte .Linner - .Linfo
.Louter: die 3
	.asciz "btf_type_tag"
	.asciz "outer"
.Linner: die 4
	.asciz "btf_type_tag"
	.asciz "inner"
	.4byte .Louter - .Linfo
.Luser:	die 3
	.asciz "btf_type_tag"
	.asciz "user"
	/* a pointer to the pointer, sharing a tag */
.Lthree: die 5
	.4byte .Lone - .Linfo, .Louter - .Linfo
	/* one from before; a chain that begins with something else; a reference to no annotation */
	die 5
	.4byte .Ltwo - .Linfo, .Lbefore - .Linfo
	die 5
	.4byte .Lthree - .Linfo, .Lmixed - .Linfo
	die 5
	.4byte .Lstruct - .Linfo, .Lint - .Linfo
	/* what stands below the pointer counts */
	die 7
	.4byte .Lunion - .Linfo, .Luser - .Linfo
	die 8
	.asciz "btf_type_tag"
	.asciz "below"
	end
.Lmixed: die 4
	.asciz "other_tag"
	.asciz "of nobody"
	.4byte .Lbefore - .Linfo

.Lstruct: die 9
	.asciz "tagged"
	.byte 24
	.4byte .Lsecond - .Linfo
	die 10
	.asciz "plain"
	.4byte .Lint - .Linfo
	.byte 0
	die 11
	.asciz "member"
	.4byte .Lint - .Linfo
	.byte 4
	.4byte .Lfirst - .Linfo
	die 11
	.asciz "pointer"
	.4byte .Lthree - .Linfo
	.byte 8
	.4byte .Lfirst - .Linfo
	end
.Lsecond: die 3
	.asciz "btf_decl_tag"
	.asciz "second"
.Lfirst: die 4
	.asciz "btf_decl_tag"
	.asciz "first"
	.4byte .Lskipped - .Linfo
	/* the name of a tag on a type, among those of declarations */
.Lskipped: die 4
	.asciz "btf_type_tag"
	.asciz "skipped"
	.4byte .Lsecond - .Linfo

.Lunion: die 12
	.asciz "tagged_union"
	.byte 4
	die 11
	.asciz "in_union"
	.4byte .Lint - .Linfo
	.byte 0
	.4byte .Lsecond - .Linfo
	end
.Ltypedef: die 13
	.asciz "tagged_t"
	.4byte .Lstruct - .Linfo, .Lsecond - .Linfo
	die 14
	.asciz "variable"
	.4byte .Lint - .Linfo
	.byte ADDRESS + 1, OP_addr
	address variable
	.4byte .Lsecond - .Linfo

	die 15
	.asciz "tagged_function"
	.4byte .Lint - .Linfo, .Lfirst - .Linfo
	die 16
	.asciz "number"
	.4byte .Lint - .Linfo
	die 17
	.asciz "text"
	.4byte .Lone - .Linfo, .Lsecond - .Linfo
	end
	die 18
	.asciz "plain_function"

	.if ENDLESS
	die 5
	.4byte .Lint - .Linfo, .Lendless - .Linfo
.Lendless: die 4
	.asciz "btf_type_tag"
	.asciz "endless"
	.4byte .Lendless - .Linfo
	.endif
	end
.Lend:
