/*
 * DWARF 2 to 4 (VERSION) in the forms that compilers had for it: blocks for locations and
 * offsets, bitfields that count from the high end of a storage unit, lists at offsets of their
 * own, references across units.
 */
	.include "dwarf.inc"

	function in_register, in_list, by_origin, elsewhere

	.section .data..percpu,"aw",%progbits
	.globl first, second
	.type first, %object
	.type second, %object
first:	.4byte 1
	.size first, 4
second:	.4byte 2
	.size second, 4

	.if VERSION < 4
	.set LOCATION, FORM_block1
	.set LIST, FORM_data4
	.else
	.set LOCATION, FORM_exprloc
	.set LIST, FORM_sec_offset
	.endif

	.section .debug_abbrev,"",%progbits
.Labbrev:
	abbrev 1, TAG_compile_unit, 1, AT_name, FORM_strp, AT_language, FORM_data1
	abbrev 2, TAG_base, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_encoding, FORM_data1
	abbrev 3, TAG_pointer, 0, AT_byte_size, FORM_data1, AT_type, FORM_ref_addr
	abbrev 4, TAG_structure, 1, AT_name, FORM_strp, AT_byte_size, FORM_data4
	/* an offset as an expression, with and without a storage size of its own */
	abbrev 5, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_member_location, FORM_block1
	abbrev 6, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_byte_size, FORM_data1, AT_bit_size, FORM_data1, AT_bit_offset, FORM_data1, AT_member_location, FORM_block2
	abbrev 7, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_bit_size, FORM_udata, AT_bit_offset, FORM_sdata, AT_member_location, FORM_block4
	abbrev 8, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_bit_size, FORM_udata, AT_bit_offset, FORM_udata, AT_member_location, FORM_udata
	abbrev 9, TAG_typedef, 0, AT_name, FORM_string, AT_type, FORM_ref_udata
	abbrev 10, TAG_union, 1, AT_name, FORM_string, AT_byte_size, FORM_udata
	abbrev 11, TAG_member, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_byte_size, FORM_data1, AT_bit_size, FORM_data1, AT_bit_offset, FORM_data1
	abbrev 12, TAG_variable, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_external, FORM_flag, AT_location, LOCATION
	abbrev 13, TAG_variable, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_external, FORM_flag, AT_declaration, FORM_flag
	abbrev 14, TAG_variable, 0, AT_specification, FORM_ref4, AT_location, LOCATION
	abbrev 15, TAG_subprogram, 1, AT_external, FORM_flag, AT_name, FORM_string, AT_type, FORM_ref4, AT_low_pc, FORM_addr
	abbrev 16, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, LOCATION
	abbrev 17, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, LIST
	abbrev 18, TAG_subprogram, 1, AT_abstract_origin, FORM_ref4, AT_low_pc, FORM_addr
	abbrev 19, TAG_formal_parameter, 0, AT_abstract_origin, FORM_ref4, AT_location, LOCATION
	abbrev 20, TAG_subprogram, 1, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 21, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 22, TAG_array, 1, AT_type, FORM_ref4
	abbrev 23, TAG_subrange, 0, AT_type, FORM_ref4, AT_upper_bound, FORM_data4
	abbrev 24, TAG_enumeration, 1, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 25, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_data4
	abbrev 26, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_sdata
	/* a location in a block, which is none in DWARF 4 */
	abbrev 27, TAG_user, 0, AT_location, FORM_block4, AT_user, FORM_block
	.byte 0

	.section .debug_info,"",%progbits
.Linfo:
	.4byte .Lend - .Lunit
.Lunit:
	.2byte VERSION
	.4byte .Labbrev
	.byte ADDRESS
	die 1
	.4byte .Lname
	.byte LANG_C99

.Lint:	die 2
	.asciz "int"
	.byte 4, ATE_signed
.Lshort: die 2
	.asciz "short unsigned int"
	.byte 2, ATE_unsigned
.Llong:	die 2
	.asciz "long long int"
	.byte 8, ATE_signed
.Lpointer: die 3
	.byte ADDRESS
	.if VERSION == 2
	address .Lstruct		/* as wide as an address, in DWARF 2 */
	.else
	.4byte .Lstruct
	.endif
.Ltypedef: die 9
	.asciz "narrow_t"
	.uleb128 6f - .Linfo

.Lstruct: die 4
	.4byte .Lstruct_name
	.4byte 24
	die 5
	.asciz "plain"
	.4byte .Lint - .Linfo
	.byte 2, OP_plus_uconst, 0
	die 6				/* 3 bits, the highest of an int's storage */
	.asciz "high"
	.4byte .Lint - .Linfo
	.byte 4, 3, 0
	.2byte 2
	.byte OP_plus_uconst, 4
	die 6				/* and the lowest */
	.asciz "low"
	.4byte .Lint - .Linfo
	.byte 4, 5, 27
	.2byte 2
	.byte OP_plus_uconst, 4
	die 7				/* storage as wide as the type */
	.asciz "by_type"
	.4byte .Ltypedef - .Linfo
	.uleb128 7
	.sleb128 4
	.4byte 3
	.byte OP_plus_uconst, 0x88, 0
	die 8				/* and a constant offset */
	.asciz "by_constant"
	.4byte .Llong - .Linfo
	.uleb128 33
	.uleb128 20
	.uleb128 16
	end

6:	die 9
	.asciz "narrower_t"
	.uleb128 .Lshort - .Linfo

	die 10
	.asciz "either"
	.uleb128 4
	die 11
	.asciz "bits"
	.4byte .Lint - .Linfo
	.if BIG
	.byte 4, 9, 0
	.else
	.byte 4, 9, 23
	.endif
	end

	die 24
	.asciz "values"
	.byte 4
	die 25
	.asciz "UNSIGNED"
	.4byte 0xffffffff
	die 26
	.asciz "SMALL"
	.sleb128 3
	end
	die 24
	.asciz "signed_values"
	.byte 1
	die 26
	.asciz "NEGATIVE"
	.sleb128 -3
	end

	die 22
	.4byte .Lpointer - .Linfo
	die 23
	.4byte .Lint - .Linfo, 0xffffffff
	die 23
	.4byte .Lint - .Linfo, 9
	end

	die 12
	.asciz "first"
	.4byte .Lint - .Linfo
	.byte 1
	.byte 1 + ADDRESS, OP_addr
	address first
.Ldeclared: die 13
	.asciz "second"
	.4byte .Ltypedef - .Linfo
	.byte 1, 1
	die 14
	.4byte .Ldeclared - .Linfo
	.byte 1 + ADDRESS, OP_addr
	address second

	die 15
	.byte 1
	.asciz "in_register"
	.4byte .Lint - .Linfo
	address in_register
	die 16
	.asciz "moved"
	.4byte .Lpointer - .Linfo
	.byte 1, OP_reg0 + 11
	end
	die 15
	.byte 1
	.asciz "in_list"
	.4byte .Lint - .Linfo
	address in_list
	die 17
	.asciz "listed"
	.4byte .Lpointer - .Linfo, .Llist
	end
.Labstract: die 20
	.asciz "by_origin"
	.4byte .Llong - .Linfo
.Lparameter: die 21
	.asciz "told_there"
	.4byte .Lpointer - .Linfo
	end
	die 18
	.4byte .Labstract - .Linfo
	address by_origin
	die 19
	.4byte .Lparameter - .Linfo
	.byte 1, OP_reg0 + 5
	end

	die 27
	.4byte 1
	.byte OP_stack_value
	.uleb128 2
	.byte 1, 2
	end
.Lend:

	/* Another unit, which names what the first one has: read together with it. */
	.4byte .Lend2 - .Lunit2
.Lunit2:
	.2byte VERSION
	.4byte .Labbrev
	.byte ADDRESS
	die 1
	.4byte .Lname2
	.byte LANG_C99
.Lacross: die 3
	.byte ADDRESS
	.if VERSION == 2
	address .Ltypedef
	.else
	.4byte .Ltypedef
	.endif
	die 15
	.byte 1
	.asciz "elsewhere"
	.4byte .Lacross - .Lend
	address elsewhere
	end
	end
.Lend2:

	.section .debug_str,"MS",%progbits,1
.Lname:	.asciz "forms2.c"
.Lname2: .asciz "forms2_other.c"
.Lstruct_name: .asciz "storage"

	.section .debug_loc,"",%progbits
.Llist:
	.if ADDRESS == 8
	.8byte -1
	.else
	.4byte -1
	.endif
	address in_list			/* a base address */
	address 0
	address 2
	.2byte 1
	.byte OP_reg0 + 11
	address 2
	address 4
	.2byte 4
	.byte OP_GNU_entry_value, 1, OP_reg0 + 5, OP_stack_value
	address 0
	address 0
