/*
 * x86-64: where a parameter is found decides whether its function can be relied on. The first
 * one is expected in rdi, register 5 of DWARF; a function whose name begins with "not_" has it
 * elsewhere and is left out.
 */
	.include "dwarf.inc"

	.section .debug_abbrev,"",@progbits
.Labbrev:
	abbrev 1, TAG_compile_unit, 1, AT_name, FORM_string, AT_language, FORM_data1, AT_loclists_base, FORM_sec_offset
	abbrev 2, TAG_base, 0, AT_name, FORM_string, AT_byte_size, FORM_data1, AT_encoding, FORM_data1
	abbrev 3, TAG_structure, 0, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 4, TAG_union, 0, AT_name, FORM_string, AT_byte_size, FORM_data1
	abbrev 5, TAG_const, 0, AT_type, FORM_ref4
	abbrev 6, TAG_typedef, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 7, TAG_volatile, 0, AT_type, FORM_ref4
	abbrev 10, TAG_subprogram, 1, AT_name, FORM_string
	abbrev 11, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, FORM_exprloc
	abbrev 12, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_location, FORM_sec_offset
	abbrev 13, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4, AT_const_value, FORM_sdata
	abbrev 14, TAG_formal_parameter, 0, AT_name, FORM_string, AT_type, FORM_ref4
	abbrev 15, TAG_formal_parameter, 0, AT_type, FORM_ref4
	abbrev 16, TAG_subprogram, 1, AT_abstract_origin, FORM_ref4
	abbrev 17, TAG_formal_parameter, 0, AT_abstract_origin, FORM_ref4, AT_location, FORM_exprloc
	abbrev 18, TAG_inlined, 1, AT_abstract_origin, FORM_ref4
	abbrev 19, TAG_subprogram, 1, AT_name, FORM_string, AT_declaration, FORM_flag_present
	abbrev 20, TAG_unspecified_parameters, 0
	.byte 0

	.section .debug_loclists,"",@progbits
	.4byte .Llists_end - .Llists + 8
	.2byte 5
	.byte 8, 0
	.4byte 0
.Llists:

	.section .debug_info,"",@progbits
.Linfo:
	.4byte .Lend - .Lunit
.Lunit:
	.2byte 5
	.byte 1, 8
	.4byte .Labbrev
	die 1
	.asciz "registers.c"
	.byte LANG_C99
	.4byte .Llists
.Lint:	die 2
	.asciz "int"
	.byte 4, ATE_signed
.Lstruct: die 3
	.asciz "aggregate"
	.byte 8
.Lunion: die 4
	.asciz "alternative"
	.byte 8
.Lconst: die 5
	.4byte .Lstruct - .Linfo
.Ltypedef: die 6
	.asciz "aggregate_t"
	.4byte .Lconst - .Linfo
.Lvolatile: die 7
	.4byte .Lstruct - .Linfo

/* A function begins. Its parameters follow, and an `end`. */
.macro begin name:req
	function \name
	.section .debug_info
	die 10
	.asciz "\name"
.endm

/* A parameter: name, type, the bytes of its location. */
.macro param name:req, type:req, location:vararg
	die 11
	.asciz "\name"
	.4byte \type - .Linfo
	.ifb \location
	.byte 0
	.else
	.byte 881f - 880f
880:	.byte \location
881:
	.endif
.endm

/* A function with one int parameter at a single place. */
.macro single name:req, location:vararg
	begin \name
	param a, .Lint, \location
	end
.endm

/* A function with one int parameter at the places of a list, which `entry` and `last` make. */
.macro listed name:req
	begin \name
	die 12
	.asciz "a"
	.4byte .Lint - .Linfo, 882f
	end
	.section .debug_loclists
882:
.endm
.macro entry from:req, to:req, location:vararg
	.byte 4				/* a pair of offsets */
	.uleb128 \from
	.uleb128 \to
	.byte 881f - 880f
880:	.byte \location
881:
.endm
.macro last
	.byte 0
	.section .debug_info
.endm

	/* ---- one place ---- */
	single expected, OP_reg0 + 5
	single not_expected, OP_reg0 + 3
	single nowhere
	single behind_pointer, OP_breg0 + 3, 0
	single computed, OP_breg0 + 3, 0, OP_stack_value
	single not_value_of_register, OP_reg0 + 3, OP_stack_value
	single in_pieces, OP_reg0 + 3, 0x93, 4, OP_reg0 + 4, 0x93, 4
	single far_register, 0x90, 3
	single value_at_entry, OP_entry_value, 1, OP_reg0 + 5, OP_stack_value
	single not_value_at_entry, OP_entry_value, 1, OP_reg0 + 3, OP_stack_value
	single not_old_value_at_entry, OP_GNU_entry_value, 1, OP_reg0 + 3, OP_stack_value
	single more_than_entry, OP_entry_value, 1, OP_reg0 + 3, OP_plus_uconst, 1, OP_stack_value
	single not_memory_at_entry, OP_entry_value, 2, OP_breg0 + 3, 0, OP_stack_value
	single implicit, 0x9e, 4, 1, 2, 3, 4

	/* ---- lists ---- */
	listed first_counts
	entry 0, 1, OP_reg0 + 5
	entry 1, 2, OP_reg0 + 3
	last
	listed not_first
	entry 0, 1, OP_reg0 + 3
	entry 1, 2, OP_reg0 + 5
	last
	listed not_first_though_empty
	entry 0, 0, OP_reg0 + 3
	entry 0, 2, OP_reg0 + 5
	last
	listed second_does_not_count
	entry 0, 1, OP_fbreg, 0
	entry 1, 2, OP_reg0 + 3
	last
	listed entry_value_settles
	entry 0, 1, OP_reg0 + 3
	entry 1, 2, OP_entry_value, 1, OP_reg0 + 5, OP_stack_value
	last
	listed not_entry_value
	entry 0, 1, OP_fbreg, 0
	entry 1, 2, OP_entry_value, 1, OP_reg0 + 3, OP_stack_value
	entry 2, 3, OP_fbreg, 0
	last
	listed match_ends_it
	entry 0, 1, OP_reg0 + 5
	entry 1, 2, OP_entry_value, 1, OP_reg0 + 3, OP_stack_value
	last
	listed no_entry
	last

	/* ---- several parameters ---- */
	begin in_order
	param a, .Lint, OP_reg0 + 5
	param b, .Lint, OP_reg0 + 4
	param c, .Lint, OP_reg0 + 1
	param d, .Lint, OP_reg0 + 2
	param e, .Lint, OP_reg0 + 8
	param f, .Lint, OP_reg0 + 9
	param g, .Lint, OP_reg0 + 3	/* none is expected for the seventh */
	end
	begin not_in_order
	param a, .Lint, OP_reg0 + 5
	param b, .Lint, OP_reg0 + 1
	end
	begin struct_moves_others
	param a, .Lstruct, OP_fbreg, 0
	param b, .Lint, OP_reg0 + 5
	end
	begin typedef_of_struct
	param a, .Lint, OP_reg0 + 3
	param b, .Ltypedef, OP_fbreg, 0
	end
	begin not_volatile_struct
	param a, .Lint, OP_reg0 + 3
	param b, .Lvolatile, OP_fbreg, 0
	end
	begin not_union
	param a, .Lunion, OP_fbreg, 0
	param b, .Lint, OP_reg0 + 5
	end
	begin constant
	die 13
	.asciz "a"
	.4byte .Lint - .Linfo
	.sleb128 -3
	die 14
	.asciz "b"
	.4byte .Lint - .Linfo
	end
	begin not_nameless			/* a parameter without a name */
	die 15
	.4byte .Lint - .Linfo
	end
	begin with_more
	param a, .Lint, OP_reg0 + 5
	die 20
	end

	/* ---- what a concrete instance shares with its abstract one ---- */
.macro abstract name:req
	function \name
	.section .debug_info
883:	die 10
	.asciz "\name"
884:	die 14
	.asciz "a"
	.4byte .Lint - .Linfo
	end
.endm
.macro instance code:req, location:vararg
	die \code
	.4byte 883b - .Linfo
	die 17
	.4byte 884b - .Linfo
	.byte 881f - 880f
880:	.byte \location
881:	end
.endm
	abstract concrete
	instance 16, OP_reg0 + 5
	abstract not_concrete
	instance 16, OP_reg0 + 3
	abstract inlined_somewhere
	begin inlines
	instance 18, OP_reg0 + 3
	end
	function not_declared
	.section .debug_info
	die 19
	.asciz "not_declared"
	end
	end
.Lend:
	.section .debug_loclists
.Llists_end:
