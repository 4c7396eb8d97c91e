"""The 65816 opcode matrix, one line per high nibble, as `mnemonic mode` pairs."""

_ROWS = """
brk imm8|ora dxi|cop imm8|ora sr|tsb dp|ora dp|asl dp|ora dil|php imp|ora imm|asl acc|phd imp|tsb abs|ora abs|asl abs|ora long
bpl rel|ora diy|ora di|ora sriy|trb dp|ora dpx|asl dpx|ora dily|clc imp|ora absy|inc acc|tcs imp|trb abs|ora absx|asl absx|ora longx
jsr abs|and dxi|jsl long|and sr|bit dp|and dp|rol dp|and dil|plp imp|and imm|rol acc|pld imp|bit abs|and abs|rol abs|and long
bmi rel|and diy|and di|and sriy|bit dpx|and dpx|rol dpx|and dily|sec imp|and absy|dec acc|tsc imp|bit absx|and absx|rol absx|and longx
rti imp|eor dxi|wdm imm8|eor sr|mvp move|eor dp|lsr dp|eor dil|pha imp|eor imm|lsr acc|phk imp|jmp abs|eor abs|lsr abs|eor long
bvc rel|eor diy|eor di|eor sriy|mvn move|eor dpx|lsr dpx|eor dily|cli imp|eor absy|phy imp|tcd imp|jml long|eor absx|lsr absx|eor longx
rts imp|adc dxi|per rel16|adc sr|stz dp|adc dp|ror dp|adc dil|pla imp|adc imm|ror acc|rtl imp|jmp absi|adc abs|ror abs|adc long
bvs rel|adc diy|adc di|adc sriy|stz dpx|adc dpx|ror dpx|adc dily|sei imp|adc absy|ply imp|tdc imp|jmp absxi|adc absx|ror absx|adc longx
bra rel|sta dxi|brl rel16|sta sr|sty dp|sta dp|stx dp|sta dil|dey imp|bit imm|txa imp|phb imp|sty abs|sta abs|stx abs|sta long
bcc rel|sta diy|sta di|sta sriy|sty dpx|sta dpx|stx dpy|sta dily|tya imp|sta absy|txs imp|txy imp|stz abs|sta absx|stz absx|sta longx
ldy immx|lda dxi|ldx immx|lda sr|ldy dp|lda dp|ldx dp|lda dil|tay imp|lda imm|tax imp|plb imp|ldy abs|lda abs|ldx abs|lda long
bcs rel|lda diy|lda di|lda sriy|ldy dpx|lda dpx|ldx dpy|lda dily|clv imp|lda absy|tsx imp|tyx imp|ldy absx|lda absx|ldx absy|lda longx
cpy immx|cmp dxi|rep imm8|cmp sr|cpy dp|cmp dp|dec dp|cmp dil|iny imp|cmp imm|dex imp|wai imp|cpy abs|cmp abs|dec abs|cmp long
bne rel|cmp diy|cmp di|cmp sriy|pei dp|cmp dpx|dec dpx|cmp dily|cld imp|cmp absy|phx imp|stp imp|jml absil|cmp absx|dec absx|cmp longx
cpx immx|sbc dxi|sep imm8|sbc sr|cpx dp|sbc dp|inc dp|sbc dil|inx imp|sbc imm|nop imp|xba imp|cpx abs|sbc abs|inc abs|sbc long
beq rel|sbc diy|sbc di|sbc sriy|pea abs|sbc dpx|inc dpx|sbc dily|sed imp|sbc absy|plx imp|xce imp|jsr absxi|sbc absx|inc absx|sbc longx
"""  # noqa: E501

OPCODES: tuple[tuple[str, str], ...] = tuple(
    tuple(entry.split())  # type: ignore[misc]
    for row in _ROWS.split("\n")
    if row
    for entry in row.split("|")
)
