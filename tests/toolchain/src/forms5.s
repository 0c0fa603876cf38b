/*
 * DWARF 5 in forms that compilers seldom or never choose: every DIE says the same as it would
 * in the usual ones.
 */
	.include "dwarf.inc"

	function indexed, listed, nothing

	.section .data..percpu,"aw",%progbits
	.globl first, second, third
	.type first, %object
	.type second, %object
	.type third, %object
first:	.4byte 1
	.size first, 4
second:	.4byte 2
	.size second, 4
third:	.4byte 3
	.size third, 4

	.section .debug_abbrev,"",%progbits
.Labbrev:
	abbrev 1, TAG_compile_unit, 1, AT_name, FORM_string, AT_language, FORM_data2, AT_str_offsets_base, FORM_sec_offset, AT_addr_base, FORM_sec_offset, AT_loclists_base, FORM_sec_offset
	abbrev 2, TAG_base, 0, AT_name, FORM_strx1, AT_byte_size, FORM_implicit_const, 4, AT_encoding, FORM_data1
	abbrev 3, TAG_base, 0, AT_byte_size, FORM_udata, AT_encoding, FORM_sdata, AT_name, FORM_strx3
	abbrev 4, TAG_base, 0, AT_encoding, FORM_data8, AT_name, FORM_strx, AT_byte_size, FORM_data4
	abbrev 5, TAG_pointer, 0, AT_type, FORM_ref_udata
	abbrev 6, TAG_const, 0, AT_type, FORM_ref1
	abbrev 7, TAG_volatile, 0, AT_type, FORM_ref2
	abbrev 8, TAG_typedef, 0, AT_type, FORM_ref8, AT_name, FORM_string
	abbrev 9, TAG_restrict, 0, AT_type, FORM_ref_addr
	abbrev 10, TAG_structure, 1, AT_name, FORM_indirect, AT_byte_size, FORM_indirect
	abbrev 11, TAG_member, 0, AT_name, FORM_line_strp, AT_type, FORM_indirect, AT_member_location, FORM_implicit_const, 0
	abbrev 12, TAG_member, 0, AT_name, FORM_strx2, AT_type, FORM_ref4, AT_member_location, FORM_block1
	abbrev 13, TAG_member, 0, AT_name, FORM_strx4, AT_user, FORM_data16, AT_bit_size, FORM_data1, AT_data_bit_offset, FORM_udata, AT_type, FORM_ref4
	abbrev 14, TAG_member, 0, AT_name, FORM_strp, AT_type, FORM_ref4, AT_data_bit_offset, FORM_implicit_const, 56, AT_bit_size, FORM_implicit_const, 7
	abbrev 15, TAG_enumeration, 1, AT_name, FORM_string, AT_byte_size, FORM_data2
	abbrev 16, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_implicit_const, 0x7f
	abbrev 17, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_sdata
	abbrev 18, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_data8
	abbrev 19, TAG_enumerator, 0, AT_name, FORM_string, AT_const_value, FORM_data1
	abbrev 20, TAG_enumerator, 0, AT_const_value, FORM_indirect, AT_name, FORM_string
	abbrev 21, TAG_array, 1, AT_type, FORM_ref4
	abbrev 22, TAG_subrange, 0, AT_upper_bound, FORM_implicit_const, 6
	abbrev 23, TAG_subrange, 0, AT_count, FORM_udata
	abbrev 24, TAG_subrange, 0, AT_upper_bound, FORM_sdata
	abbrev 25, TAG_subrange, 0, AT_upper_bound, FORM_exprloc
	abbrev 26, TAG_subrange, 0, AT_upper_bound, FORM_data1
	abbrev 27, TAG_subrange, 0
	abbrev 28, TAG_subprogram, 1, AT_external, FORM_flag, AT_name, FORM_string, AT_low_pc, FORM_addrx1, AT_type, FORM_ref4
	abbrev 29, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, FORM_loclistx
	abbrev 30, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, FORM_sec_offset
	abbrev 31, TAG_subprogram, 0, AT_name, FORM_string, AT_low_pc, FORM_addrx3, AT_external, FORM_flag_present
	abbrev 32, TAG_variable, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_external, FORM_flag_present, AT_location, FORM_exprloc
	abbrev 33, TAG_variable, 0, AT_location, FORM_exprloc, AT_external, FORM_implicit_const, 1, AT_type, FORM_ref4, AT_name, FORM_string
	/* everything else there is, in a DIE and attributes that nobody knows */
	abbrev 34, TAG_user, 1, AT_user, FORM_block, AT_user + 1, FORM_block1, AT_user + 2, FORM_block2, AT_user + 3, FORM_block4, AT_user + 4, FORM_data16, AT_user + 5, FORM_addrx, AT_user + 6, FORM_addrx2, AT_user + 7, FORM_addrx4, AT_user + 8, FORM_rnglistx, AT_user + 9, FORM_loclistx, AT_user + 10, FORM_addr, AT_user + 11, FORM_indirect, AT_user + 12, FORM_ref_addr, AT_user + 13, FORM_strx, AT_user + 14, FORM_sec_offset, AT_user + 15, FORM_exprloc, AT_user + 16, FORM_implicit_const, 0x7f, AT_user + 17, FORM_string
	/* read by nobody, and its length is that of all three */
	abbrev 35, TAG_user, 0, AT_user, FORM_implicit_const, 1, AT_user + 1, FORM_data1, AT_user + 2, FORM_data2
	abbrev 0x1234, TAG_typedef, 0, AT_name, FORM_string, AT_user, FORM_addrx4, AT_type, FORM_ref4
	.byte 0

	.section .debug_info,"",%progbits
.Linfo:
	.4byte .Lend - .Lunit
.Lunit:
	.2byte 5
	.byte 1, ADDRESS		/* DW_UT_compile */
	.4byte .Labbrev
	die 1
	.asciz "forms5.c"
	.2byte LANG_C99
	.4byte .Lstrings, .Laddresses, .Llists

.Lint:	die 2
	.byte 0, ATE_signed
.Lchar:	die 3
	.uleb128 1
	.sleb128 ATE_unsigned_char
	three 1
.Lflag:	die 4
	.8byte ATE_boolean
	.uleb128 2
	.4byte 1

.Lconst: die 6			/* const int */
	.byte .Lint - .Linfo
.Lpointer: die 5		/* const int * */
	.uleb128 .Lconst - .Linfo
.Lvolatile: die 7		/* volatile char */
	.2byte .Lchar - .Linfo
.Ltypedef: die 8
	.8byte .Lvolatile - .Linfo
	.asciz "port_t"
.Lrestrict: die 9		/* const int *restrict */
	.4byte .Lpointer

.Lstruct: die 10
	.uleb128 FORM_strp
	.4byte .Ltext_struct
	.uleb128 FORM_sdata
	.sleb128 16
	die 11
	.4byte .Lline_text
	.uleb128 FORM_ref_udata
	.uleb128 .Ltypedef - .Linfo
	die 12
	.2byte 3
	.4byte .Lint - .Linfo
	.byte 2, OP_plus_uconst, 4
	die 13
	.4byte 4
	.8byte 1, 2
	.byte 5
	.uleb128 67
	.4byte .Lint - .Linfo
	die 14
	.4byte .Ltext_last
	.4byte .Lint - .Linfo
	end

	die 15
	.asciz "values"
	.2byte 8
	die 16
	.asciz "MINUS_ONE"
	die 17
	.asciz "LOW"
	.sleb128 -0x123456789a
	die 18
	.asciz "HIGH"
	.8byte 0xfedcba9876543210
	die 19
	.asciz "BYTE"
	.byte 0xff
	die 20
	.uleb128 FORM_udata
	.uleb128 0x123456789
	.asciz "INDIRECT"
	end

.Larray: die 21		/* int [7][3][256] */
	.4byte .Lint - .Linfo
	die 22
	die 23
	.uleb128 3
	die 26
	.byte 0xff
	end
	die 21			/* int [0] */
	.4byte .Lint - .Linfo
	die 24
	.sleb128 -1
	end
	die 21			/* of variable length */
	.4byte .Lint - .Linfo
	die 25
	.uleb128 2
	.byte OP_fbreg, 0
	end
	die 21			/* int [] */
	.4byte .Lint - .Linfo
	die 27
	end
	die 21			/* without any dimension */
	.4byte .Lint - .Linfo
	end

	die 28
	.byte 1
	.asciz "indexed"
	.byte 0
	.4byte .Lint - .Linfo
	die 29
	.asciz "by_index"
	.4byte .Lpointer - .Linfo
	.uleb128 1
	end
	die 28
	.byte 0
	.asciz "listed"
	.byte 1
	.4byte .Lflag - .Linfo
	die 30
	.asciz "by_offset"
	.4byte .Lstruct - .Linfo
	.4byte .Llist0
	end
	die 31
	.asciz "nothing"
	three 2

	die 32
	.asciz "first"
	.4byte .Lint - .Linfo
	.uleb128 2
	.byte OP_addrx, 3
	die 33
	.uleb128 1 + ADDRESS
	.byte OP_addr
	address second
	.4byte .Lconst - .Linfo
	.asciz "second"
	die 32
	.asciz "third"
	.4byte .Lrestrict - .Linfo
	.uleb128 1 + ADDRESS
	.byte OP_addr
	address third

	die 34
	.uleb128 3
	.byte 1, 2, 3
	.byte 2, 4, 5
	.2byte 1
	.byte 6
	.4byte 1
	.byte 7
	.8byte 8, 9
	.uleb128 0
	.2byte 1
	.4byte 2
	.uleb128 200
	.uleb128 201
	address 0x1234
	.uleb128 FORM_block1
	.byte 2, 1, 2
	.4byte .Lint
	.uleb128 300
	.4byte 0
	.uleb128 1
	.byte OP_stack_value
	.asciz "end"
	die 35
	.byte 0
	.2byte 0
	die 2			/* not seen: nobody knows what its parent is */
	.byte 0, ATE_unsigned
	end

	die 0x1234
	.asciz "behind"
	.4byte 3
	.4byte .Lint - .Linfo
	end
.Lend:

	.section .debug_str_offsets,"",%progbits
	.4byte .Lstrings_end - .Lstrings + 4
	.2byte 5, 0
.Lstrings:
	.4byte .Ltext_int, .Ltext_char, .Ltext_flag, .Ltext_second, .Ltext_bits
.Lstrings_end:

	.section .debug_str,"MS",%progbits,1
.Ltext_int: .asciz "int"
.Ltext_char: .asciz "unsigned char"
.Ltext_flag: .asciz "_Bool"
.Ltext_struct: .asciz "formed"
.Ltext_second: .asciz "second"
.Ltext_bits: .asciz "bits"
.Ltext_last: .asciz "last"

	.section .debug_line_str,"MS",%progbits,1
.Lline_text: .asciz "member_in_line_str"

	.section .debug_addr,"",%progbits
	.4byte .Laddresses_end - .Laddresses + 4
	.2byte 5
	.byte ADDRESS, 0
.Laddresses:
	address indexed
	address listed
	address nothing
	address first
.Laddresses_end:

	.section .debug_loclists,"",%progbits
	.4byte .Llists_end - .Llists + 8
	.2byte 5
	.byte ADDRESS, 0
	.4byte 2
.Llists:
	.4byte .Llist0 - .Llists, .Llist1 - .Llists
.Llist0:
	.byte 1			/* base address by index */
	.uleb128 1
	.byte 4			/* a pair of offsets */
	.uleb128 0
	.uleb128 2
	.uleb128 1
	.byte OP_reg0 + 5
	.byte 0
.Llist1:
	.byte 3			/* start by index, length */
	.uleb128 0
	.uleb128 1
	.uleb128 1
	.byte OP_reg0 + 5
	.byte 7			/* start, end */
	address indexed
	address listed
	.uleb128 4
	.byte OP_entry_value, 1, OP_reg0 + 5, OP_stack_value
	.byte 5			/* default */
	.uleb128 1
	.byte OP_reg0 + 3
	.byte 0
.Llists_end:
