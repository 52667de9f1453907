{%- set similarity = perennial.setting('similarity') %}
{%- set rules = perennial.setting('association_rules') %}
{%- set recommenders = perennial.setting('recommenders') %}
-- Python models see no settings; here they are as a row.
select
    '{{ perennial.similarity_way() }}' as way,
    {{ similarity.top_k }} as top_k,
    {{ similarity.min_count }} as min_count,
    cast({{ similarity.half_life_days or 'null' }} as double) as half_life_days,
    cast({{ rules.min_support }} as double) as min_support,
    cast({{ rules.min_confidence }} as double) as min_confidence,
    {{ rules.max_items }} as max_items,
    {{ rules.max_itemsets }} as max_itemsets,
    {{ recommenders.embeddings | lower }} as embeddings
