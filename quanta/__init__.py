"""quanta"""
