{#- The id of an association rule, from its two lists of products. -#}
{% macro rule_id() -%}
    md5(
        {{ perennial.as_json('antecedent') }}
        || {{ perennial.as_json('consequent') }}
    )
{%- endmacro %}
