"""The answer to each request: mailboxes of scores, the choice among them, and whose turn it is to make it."""
