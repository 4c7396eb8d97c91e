"""A conversation with the council in a terminal.

session           the council, the conversation, and what the slash commands change
slash_commands    /expert, /provider, /cost, /save and the others
markdown_stream   prints an answer as Markdown while it arrives
prompt            reads questions, runs the loop
"""
