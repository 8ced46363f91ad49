"""The dashboard: `birdwatch dashboard` (or `streamlit run` on this file) opens it over the store that the tail writes."""

from pathlib import Path

import streamlit as st

st.set_page_config(page_title="Birdwatch", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")

st.navigation(
    [st.Page("overview.py", title="Fleet at a glance", icon=":material/flutter_dash:", default=True)], position="top"
).run()
