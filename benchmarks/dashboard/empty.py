"""An empty page: what Streamlit and the browser take for themselves, below which no page can come."""

import streamlit as st

st.set_page_config(page_title="Empty", layout="wide")
st.title("Empty")
st.caption("Data as of nothing")
