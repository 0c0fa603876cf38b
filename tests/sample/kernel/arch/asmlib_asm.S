/* The assembler half: a compilation unit without types. */
	.text
	.globl asmlib_round
	.type asmlib_round, %function
asmlib_round:
	nop
	ret
	.size asmlib_round, . - asmlib_round

	.type asmlib_local, %function
asmlib_local:
	ret
	.size asmlib_local, . - asmlib_local

	.section .note.GNU-stack,"",%progbits
