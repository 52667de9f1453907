{#-
The relation that holds a table of the raw contract, or none where the shop has no such
table. The setting `shop` says where to look:

  demo             the seeds in seeds/demo
  files            files in the folder `raw_path`, read into the schema `raw` by start_run()
  tables           tables of the schema `raw_schema`
  any other shop   the models that `raw_models` names, one per table: a shop in examples/,
                   or (shop: models) the models of the project that installed Perennial
-#}
{% macro raw(table) %}
    {% set shop = perennial.setting('shop') %}
    {% if shop == 'demo' %}
        {% do return(ref('perennial', 'raw_' ~ table)) %}
    {% endif %}
    {% if shop not in ['files', 'tables'] %}
        {% set model = perennial.setting('raw_models').get(table) %}
        {#- Named with its package, so that no model of Perennial's own is taken for it. -#}
        {% set package = project_name if shop == 'models' else 'perennial' %}
        {% do return(ref(package, model) if model else none) %}
    {% endif %}
    {% set relation = source('raw', table) %}
    {% if not execute %}
        {% do return(relation) %}
    {% endif %}
    {% do return(perennial.relation_as_found(table)) %}
{% endmacro %}


{#-
A table or view of the schema `raw_schema`, or none. It asks the database: dbt's own cache was
filled before start_run() read the files.
-#}
{% macro relation_as_found(table) %}
    {% set known = perennial.known_while_compiled('relations') %}
    {% if table not in known %}
        {% do known.update({table: adapter.dispatch('relation_as_found', 'perennial')(table)}) %}
    {% endif %}
    {% do return(known[table]) %}
{% endmacro %}


{#-
A mapping that stays while a model is compiled, which asks several times for the same; a new one
for a hook, under whose hands raw tables come and go.

Arguments:
  what   which of the mappings
-#}
{% macro known_while_compiled(what) %}
    {% do return(model.setdefault('perennial_' ~ what, {}) if model.resource_type == 'model' else {}) %}
{% endmacro %}


{% macro default__relation_as_found(table) %}
    {% set schema = perennial.setting('raw_schema') %}
    {% set found = run_query("select table_type from information_schema.tables"
        ~ " where table_catalog = current_database() and lower(table_schema) = lower('" ~ schema
        ~ "') and lower(table_name) = '" ~ table ~ "'").columns[0].values() %}
    {% if not found %}
        {% do return(none) %}
    {% endif %}
    {% do return(api.Relation.create(database=target.database, schema=schema, identifier=table,
        type='view' if found[0] == 'VIEW' else 'table')) %}
{% endmacro %}


{#- One table of the raw contract, as models/staging/_raw.yml describes it. -#}
{% macro contract(table) %}
    {% for node in graph.sources.values() %}
        {% if node.package_name == 'perennial' and node.name == table %}
            {% do return(node) %}
        {% endif %}
    {% endfor %}
{% endmacro %}


{#- The names of the raw contract's tables, parents before children. -#}
{% macro contract_tables() %}
    {% do return(['orders', 'order_items', 'refunds', 'customers', 'products', 'events',
        'reviews', 'coupons', 'coupon_grants', 'campaigns', 'campaign_touches', 'experiments',
        'experiment_assignments', 'ad_spend', 'exchange_rates', 'support_questions',
        'knowledge_base']) %}
{% endmacro %}


{#-
The columns that a raw relation has, lower-case name -> type. Stops the run when the table
or one of its columns is required and missing, and says what was found instead.
-#}
{% macro raw_columns(table, relation) %}
    {% set known = perennial.known_while_compiled('columns') %}
    {% if table in known %}
        {% do return(known[table]) %}
    {% endif %}
    {% set rules = perennial.contract(table) %}
    {% set found = {} %}
    {% if relation is not none %}
        {% for column in adapter.get_columns_in_relation(relation) %}
            {% do found.update({column.name | lower: column.dtype | upper}) %}
        {% endfor %}
    {% endif %}
    {% if not found %}
        {% if rules.config.meta.required %}
            {% do perennial.stop("the required table '" ~ table ~ "' is missing. "
                ~ perennial.where_raw_was_sought(table)) %}
        {% endif %}
        {% do return({}) %}
    {% endif %}
    {% set missing = [] %}
    {% for column in rules.columns.values() %}
        {% if column.config.meta.required and column.name not in found %}
            {% do missing.append(column.name) %}
        {% endif %}
    {% endfor %}
    {% if missing %}
        {% do perennial.stop("the table '" ~ table ~ "' lacks " ~ missing | join(', ')
            ~ '. Columns found: ' ~ found.keys() | join(', ') ~ '. '
            ~ (perennial.where_raw_was_sought(table) ~ ' ' if perennial.setting('shop') in ['files', 'tables'] else '')
            ~ 'Have them sent under these names, and build again.') %}
    {% endif %}
    {% do known.update({table: found}) %}
    {% do return(found) %}
{% endmacro %}


{#- For messages: where raw() looked for a table. -#}
{% macro where_raw_was_sought(table) %}
    {% set shop = perennial.setting('shop') %}
    {% if shop == 'files' and flags.WHICH not in ['build', 'run'] %}
        {% do return('Build the warehouse first: only dbt build and dbt run read the files.') %}
    {% elif shop == 'files' %}
        {% do return('Looked in ' ~ perennial.setting('raw_path') ~ ' for '
            ~ perennial.file_patterns(table) | join(', ') ~ '.') %}
    {% elif shop == 'tables' %}
        {% do return("Looked in the schema '" ~ perennial.setting('raw_schema') ~ "' for '"
            ~ table ~ "'.") %}
    {% endif %}
    {% do return("Name its model in the setting raw_models, for example {" ~ table
        ~ ": my_" ~ table ~ "}.") %}
{% endmacro %}
